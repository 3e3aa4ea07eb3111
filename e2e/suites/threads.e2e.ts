/** Pins, policies and what the status says of threads, on a real QEMU whose TCG has a thread for each vCPU. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld } from '../machine/world.ts'

const skip = needs('root', 'qemu')

const run = promisify(execFile)

/** The CPUs of this host that a program gets: the first and the last, the same one on a host with one. */
async function ownCpus(): Promise<{ readonly first: string; readonly last: string; readonly all: string }> {
  const all = (await allowedOf(process.pid, process.pid)) ?? '0'
  return { all, first: /^\d+/.exec(all)?.[0] ?? '0', last: /\d+$/.exec(all)?.[0] ?? '0' }
}

/** What the kernel lets a thread run on. */
async function allowedOf(pid: number, thread: number): Promise<string | undefined> {
  return /^Cpus_allowed_list:\s+(\S+)/m.exec(
    await readFile(`/proc/${pid}/task/${thread}/status`, 'utf8'),
  )?.[1]
}

/** The status with its threads; the daemon measures a VM because somebody looks at it. */
async function measured(vm: VmHandle) {
  return await eventually(
    async () => {
      const { status } = await vm.show()
      return status.vcpus && status.emulatorThread ? { ...status, vcpus: status.vcpus } : undefined
    },
    { withinMs: 10_000, what: `VM ${vm.name} was measured` },
  )
}

/** What the kernel says of each vCPU's thread, by number. */
async function pinsOf(vm: VmHandle): Promise<Record<number, string | undefined>> {
  const { vcpus } = await measured(vm)
  const pid = await vm.pid()
  return Object.fromEntries(
    await Promise.all(
      vcpus.map(async ({ index, threadId }) => [index, await allowedOf(pid, threadId)] as const),
    ),
  )
}

test('pins set with the command line hold at once, after a restart, and after the daemon was killed', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const { first, last, all } = await ownCpus()
  const vm = await world.bootTiny('web1', { cpu: { count: 2 } })
  const pid = await vm.pid()
  assert.deepEqual(await pinsOf(vm), { 0: all, 1: all })

  await world.cli('vm', 'pin', 'web1', '0', last)
  await world.cli('vm', 'pin', 'web1', 'emulator', first)

  assert.equal(await vm.pid(), pid)
  assert.deepEqual(await pinsOf(vm), { 0: last, 1: all })
  assert.equal(await allowedOf(pid, pid), first)
  assert.deepEqual((await vm.show()).status.restartNeeded, [])
  await vm.isCounting()
  await vm.assertCaged()

  await world.daemon.kill9()
  await run('taskset', ['--all-tasks', '--pid', '--cpu-list', first, String(pid)])
  await world.startDaemon()
  assert.deepEqual(await pinsOf(vm), { 0: last, 1: all })
  await vm.isCounting()

  await vm.powerOff()
  await vm.start()
  assert.deepEqual(await pinsOf(vm), { 0: last, 1: all })

  await world.cli('vm', 'pin', 'web1', '0', 'any')
  assert.deepEqual(await pinsOf(vm), { 0: all, 1: all })
  assert.equal(await allowedOf(await vm.pid(), await vm.pid()), first)
})

test('a vCPU that is plugged while the guest runs has the pin that waited for it', { skip }, async (t) => {
  await using world = await openWorld(t)
  const { first, last, all } = await ownCpus()
  const vm = await world.bootTiny('web1', {
    cpu: { count: 1, max: 2, pin: { vcpus: { 1: last }, emulator: first } },
  })
  assert.deepEqual(await pinsOf(vm), { 0: all })

  await world.cli('vm', 'set', 'web1', 'vcpus=2')

  await eventually(async () => ((await pinsOf(vm))[1] === last ? true : undefined), {
    withinMs: 30_000,
    what: 'the second vCPU came and was pinned',
  })
  assert.deepEqual(await pinsOf(vm), { 0: all, 1: last })
  await vm.isCounting()
})

test('what cannot be pinned is refused by number, and the guest runs on as it did', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')
  const { all } = await ownCpus()

  const refused = {
    nonexistent: await world.cli('vm', 'pin', 'web1', '0', '0,8000-8001'),
    thread: await world.cli('vm', 'pin', 'web1', '1', '0'),
    disk: await world.cli('vm', 'pin', 'web1', 'nodisk', '0'),
    list: await world.cli('vm', 'pin', 'web1', '0', '3-1'),
  }

  assert.match(
    refused.nonexistent.stderr,
    /vCPU 0 of VM web1 cannot be given CPUs 8000-8001, which do not exist/,
  )
  assert.equal(refused.nonexistent.code, 1)
  assert.match(refused.thread.stderr, /VM web1 has 1 vCPU, counted from 0, so its vCPU 1 cannot be pinned/)
  assert.match(refused.disk.stderr, /nodisk is no thread of this VM/)
  assert.match(refused.list.stderr, /no list of CPUs/)
  assert.deepEqual(await pinsOf(vm), { 0: all })
  assert.equal((await vm.show()).revision, 1)
})

test('policies change while the guest runs, and the table tells of every thread', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', {
    cpu: { weight: 300, quotaPercent: 50 },
    disks: [{ name: 'data', size: '16MiB', ioThread: true }],
  })
  const { first } = await ownCpus()

  await world.cli('vm', 'pin', 'web1', 'data', first)
  await world.cli('vm', 'set', 'web1', 'cpu.scheduler={"policy":"batch"}')

  const { vcpus, ioThreads, emulatorThread, cageLimits } = await measured(vm)
  assert.deepEqual(
    ioThreads?.map(({ disk, cpus }) => [disk, cpus]),
    [['data', first]],
  )
  assert.equal(emulatorThread?.policy, 'other')
  assert.equal(vcpus[0]?.policy, 'batch')
  assert.ok((vcpus[0]?.cpuSeconds ?? 0) > 0 && vcpus[0]?.waitSeconds !== undefined)
  const { stdout } = await world.cli('vm', 'pin', 'web1')
  assert.match(stdout, /^0 +vCPU +- +\S+ +\d+ +batch +\d+\.\d\d +\d+\.\d\d +\d+$/m)
  assert.match(stdout, new RegExp(`^data +I/O +${first} +${first} `, 'm'))
  const { cgroup } = await world.client.call(endpoints.getHost)
  const isSaid = /its weight 300 is not enforced/.test((cageLimits ?? []).join('\n'))
  assert.equal(
    isSaid,
    !cgroup.controllers.includes('cpu'),
    'What this host cannot enforce is said, and nothing else.',
  )
})

test('a change of a VM whose emulator hangs is refused after one time-out, and changes nothing', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const { last } = await ownCpus()
  const vm = await world.bootTiny('web1', { cpu: { count: 2, weight: 200 } })
  const pid = await vm.pid()
  const before = await pinsOf(vm)
  process.kill(pid, 'SIGSTOP')
  const since = performance.now()

  const pinned = await world.cli('vm', 'pin', 'web1', '0', last)

  const tookMs = performance.now() - since
  assert.equal(pinned.code, 4, pinned.stderr)
  assert.match(pinned.stderr, /does not answer/)
  assert.ok(tookMs < 14_000, `${tookMs} ms`)
  process.kill(pid, 'SIGCONT')
  await vm.untilState('running', { withinMs: 30_000 })
  assert.equal((await vm.show()).spec.cpu.pin, undefined)
  assert.deepEqual(await pinsOf(vm), before)
  assert.deepEqual((await world.client.call(endpoints.getAudit, {})).entries, [])
})
