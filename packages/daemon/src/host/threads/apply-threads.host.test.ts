/** Threads of a real QEMU, and what the kernel says of them afterwards. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { copyFile, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import { type VmSpecInput, vmSpec } from '@kvasir/contract'
import { readCpuSets, setThreads } from '@kvasir/linux'
import { needs } from '../../../../../tools/require.ts'
import { planThreads, type ThreadPlan } from '../../model/placement/plan-threads.ts'
import type { Emulator } from '../../ports/emulators.ts'
import { openRealEmulators, type RealEmulators } from '../qemu/testing/real-emulators.ts'

const skip = needs('root', 'qemu')
const id = '5b1f2a34-77aa-4b0e-8f53-0c2f4a6f9d11'
const never = new AbortController().signal

type Cpu = NonNullable<VmSpecInput['cpu']>

async function plan(cpu: Cpu): Promise<ThreadPlan> {
  const host = await readCpuSets('/nonexistent')
  return planThreads({ name: 'web1', cpu: vmSpec.parse({ cpu: { count: 2, ...cpu } }).cpu }, host)
}

async function launch(real: RealEmulators, cpu: Cpu): Promise<Emulator> {
  return await real.emulators.launch({ ...real.request(id), threads: await plan(cpu) }, never)
}

/** What the kernel lets each thread of the emulator run on: the vCPUs by number, every other thread, and its cgroup's last part. */
async function allowed(emulator: Emulator) {
  const { pid } = emulator.record
  const vcpus = new Map((await emulator.vcpuThreads()).map(({ index, threadId }) => [threadId, index]))
  const seen = {
    vcpus: new Map<number, string>(),
    others: new Set<string>(),
    groups: new Map<number, string>(),
  }
  for (const thread of (await readdir(`/proc/${pid}/task`)).map(Number)) {
    const task = `/proc/${pid}/task/${thread}`
    const list = /^Cpus_allowed_list:\s+(\S+)/m.exec(await readFile(`${task}/status`, 'utf8'))?.[1] ?? ''
    const cgroup = /^0::(.*)$/m.exec(await readFile(`${task}/cgroup`, 'utf8'))?.[1] ?? ''
    const index = vcpus.get(thread)
    seen.groups.set(thread, basename(cgroup))
    if (index === undefined) seen.others.add(list)
    else seen.vcpus.set(index, list)
  }
  return seen
}

/** The first and the last CPU of this host: the same one on a host with one. */
async function ends() {
  const { inherited } = await readCpuSets('/nonexistent')
  return { first: String(inherited[0] ?? 0), last: String(inherited.at(-1) ?? 0) }
}

test('pins hold before the first instruction, for vCPUs and for every other thread', { skip }, async () => {
  await using real = await openRealEmulators()
  const { first, last } = await ends()

  const emulator = await launch(real, { pin: { vcpus: { 0: first, 1: last }, emulator: last } })

  assert.equal(await emulator.runState(), 'prelaunch')
  const { vcpus, others } = await allowed(emulator)
  assert.deepEqual(
    [...vcpus],
    [
      [0, first],
      [1, last],
    ],
  )
  assert.deepEqual([...others], [last])
  const { emulatorThread, vcpus: used } = await emulator.statistics()
  assert.equal(emulatorThread?.cpus, last)
  assert.deepEqual(
    used.map(({ cpus, policy }) => `${cpus} ${policy}`),
    [`${first} other`, `${last} other`],
  )
  assert.deepEqual(await real.emulators.inspectCage(id), [])
})

test('pins change while the guest runs, and taking them back gives the threads all CPUs again', {
  skip,
}, async () => {
  await using real = await openRealEmulators()
  const { first, last } = await ends()
  const emulator = await real.emulators.launch(real.request(id), never)
  const before = await allowed(emulator)
  await emulator.resume()

  await emulator.threads.apply(await plan({ cpus: `${first},${last}`, pin: { vcpus: { 1: first } } }))
  assert.equal((await allowed(emulator)).vcpus.get(1), first)

  await emulator.threads.apply(await plan({}))
  const after = await allowed(emulator)
  assert.deepEqual(after.vcpus, before.vcpus)
  assert.deepEqual(after.others, before.others)
})

test('a thread that somebody moved is named, and put back', { skip }, async () => {
  await using real = await openRealEmulators()
  const { first, last } = await ends()
  const pinned = await plan({ pin: { vcpus: { 0: first } }, scheduler: { policy: 'batch' } })
  const emulator = await launch(real, { pin: { vcpus: { 0: first } }, scheduler: { policy: 'batch' } })
  assert.deepEqual(await emulator.threads.inspect(pinned), [])
  const threadId = (await emulator.vcpuThreads())[0]?.threadId ?? 0
  await setThreads([{ threadId, cpus: [Number(last)], policy: 'idle' }])

  const differences = await emulator.threads.inspect(pinned)
  await emulator.threads.apply(pinned)

  const wanted = first === last ? 1 : 2
  assert.equal(differences.length, wanted, differences.join('\n'))
  assert.match(differences.at(-1) ?? '', /^vCPU 0 \(thread \d+\) has the policy idle and is to have batch\.$/)
  assert.deepEqual(await emulator.threads.inspect(pinned), [])
})

test('vCPU threads have the real-time policy that was asked for, and nobody else does', {
  skip,
}, async () => {
  await using real = await openRealEmulators()

  const emulator = await launch(real, { scheduler: { policy: 'fifo', priority: 7 } })

  const { vcpus, emulatorThread } = await emulator.statistics()
  assert.deepEqual(
    vcpus.map(({ policy }) => policy),
    ['fifo:7', 'fifo:7'],
  )
  assert.equal(emulatorThread?.policy, 'other')
})

test('the cgroup of a VM is divided only where the host can tell threads apart, and goes with it', {
  skip,
}, async () => {
  await using real = await openRealEmulators()
  const { first } = await ends()
  const divides = real.groups.controllers.includes('cpu') || real.groups.controllers.includes('cpuset')

  const plain = await launch(real, { weight: 200, quotaPercent: 50 })
  assert.equal(await real.groups.isDivided(`vm-${id}`), false)
  await plain.threads.apply(await plan({ pin: { vcpus: { 1: first } } }))

  assert.equal(await real.groups.isDivided(`vm-${id}`), divides)
  const { groups } = await allowed(plain)
  const threadId = (await plain.vcpuThreads())[1]?.threadId ?? 0
  assert.equal(groups.get(threadId), divides ? 'vcpu1' : `vm-${id}`)
  assert.deepEqual(await real.emulators.inspectCage(id), [])
  await plain.end({ graceMs: 0 })
  assert.deepEqual(await real.groups.list(), [])
})

test('a vhost worker that is a thread of the kernel is found in the cgroup, and pinned apart from the emulator', {
  skip,
}, async (t) => {
  await using real = await openRealEmulators()
  const { first, last } = await ends()
  const request = real.request(id)
  const nics = { net0: { device: 'nic-net0', netdev: 'net-net0', vhost: true } as const }
  const ids = { ...request.plan.ids, nics }
  const emulator = await real.emulators.launch({ ...request, plan: { ...request.plan, ids } }, never)
  // Linux names it after the emulator, and puts it into the same cgroup; a program of that name stands in for it.
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-vhost-'))
  t.after(() => rm(folder, { recursive: true }))
  const program = join(folder, `vhost-${emulator.record.pid}`)
  await copyFile('/bin/sleep', program)
  const worker = spawn(program, ['60'], { stdio: 'ignore' })
  t.after(() => worker.kill('SIGKILL'))
  await real.groups.admit(`vm-${id}`, worker.pid ?? 0)
  const cpusOf = async () => (await emulator.statistics()).vhostThreads?.map(({ cpus }) => cpus)

  await emulator.threads.apply(await plan({ pin: { emulator: first, vhost: last } }))
  const pinned = [await cpusOf(), (await emulator.statistics()).emulatorThread?.cpus]
  await emulator.threads.apply(await plan({ pin: { emulator: first } }))

  assert.deepEqual(pinned, [[last], first])
  assert.deepEqual(await cpusOf(), [first])
  assert.deepEqual(await emulator.threads.inspect(await plan({ pin: { emulator: first } })), [])
})
