/**
 * vCPUs that come into a guest that really runs, models that it really sees, and what is refused before it starts.
 *
 * Not here: vCPUs that go, which needs KVM (lab/suites/vcpus.lab.ts).
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { endpoints, type Job, type Vm, type VmSpecInput } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { failpointsOf } from '../machine/failpoints.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld, tinySpec, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const jobMs = 120_000

type Cpu = NonNullable<VmSpecInput['cpu']>

async function bootWith(world: World, cpu: Cpu): Promise<VmHandle> {
  const vm = await world.bootTiny('web1', { cpu })
  await vm.shell('true') // The agent is there.
  return vm
}

async function jobOf(world: World, { status }: Vm): Promise<Job> {
  assert.ok(status.job, 'a job was begun')
  const job = await world.client.call(endpoints.getJob, { params: { id: status.job } })
  return await waitForJob(world.client, job, { signal: AbortSignal.timeout(jobMs) })
}

async function setCpu(world: World, cpu: Cpu): Promise<Job> {
  return await jobOf(world, await world.vm('web1').apply(tinySpec({ cpu })))
}

/** How many vCPU threads the kernel sees in an emulator. */
function vcpuThreads(pid: number): number {
  const names = readdirSync(`/proc/${pid}/task`).map((task) =>
    readFileSync(`/proc/${pid}/task/${task}/comm`, 'utf8'),
  )
  return names.filter((name) => /^CPU \d+\//.test(name)).length
}

async function untilCount(vm: VmHandle, count: number): Promise<void> {
  const isThere = async () => ((await vm.show()).status.cpu?.count === count ? true : undefined)
  await eventually(isThere, { withinMs: 20_000, what: `there are ${count} vCPUs` })
}

test('a guest gets vCPUs while it runs, uses them, and has them over reboots and boots', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await bootWith(world, { count: 1, max: 4 })
  assert.equal(await vm.shell('nproc'), '1')

  const grown = await setCpu(world, { count: 3, max: 4 })
  assert.equal(grown.outcome, 'It has 3 of 4 vCPUs; its guest uses 3.')
  assert.equal(await vm.shell('nproc'), '3')
  await vm.assertCaged()

  await vm.reset()
  await vm.waitForLogin(2)
  assert.equal(await vm.shell('nproc'), '3')
  await vm.shutdown({ timeoutSeconds: 60 })
  await vm.start()
  await vm.waitForLogin(3)
  assert.equal(await vm.shell('nproc'), '3')
})

test('a vCPU that is plugged runs where its pin says', { skip }, async (t) => {
  await using world = await openWorld(t)
  const pin = { vcpus: { 1: '0' } }
  const vm = await bootWith(world, { count: 1, max: 2, pin })

  await setCpu(world, { count: 2, max: 2, pin })

  const seen = async () => (await vm.show()).status.vcpus?.[1]?.cpus
  await eventually(async () => ((await seen()) === '0' ? true : undefined), {
    withinMs: 10_000,
    what: 'the second vCPU is on CPU 0',
  })
})

test('under TCG nothing is asked back: fewer vCPUs wait for the next boot, which has them', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { accelerator: 'tcg', cpu: { count: 2, max: 2 } })
  const wanted = tinySpec({ accelerator: 'tcg', cpu: { count: 1, max: 2 } })

  const plan = await vm.plan(wanted)
  const { status } = await vm.apply(wanted)

  assert.match(plan.changes[0]?.reason ?? '', /^QEMU under TCG does not survive it/)
  assert.deepEqual([status.cpu?.count, status.restartNeeded, status.job], [2, ['cpu.count'], undefined])
  await vm.shutdown({ timeoutSeconds: 60 })
  await vm.start()
  await vm.waitForLogin(2)
  assert.equal(await vm.shell('nproc'), '1')
})

test('a VM with vCPUs that were plugged is saved and goes on with them', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await bootWith(world, { count: 1, max: 3 })
  await setCpu(world, { count: 2, max: 3 })

  await vm.save()
  await assert.rejects(vm.apply(tinySpec({ cpu: { count: 3, max: 3 } })), { code: 'plan-refused' })
  await vm.start()

  await vm.isCounting()
  assert.equal(await vm.shell('nproc'), '2')
  await setCpu(world, { count: 3, max: 3 })
  assert.equal(await vm.shell('nproc'), '3')
})

test('a daemon that is killed between two vCPUs is followed by one that counts them and goes on', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const failpoints = failpointsOf(world.place)
  await world.daemon.stop()
  await world.startDaemon(failpoints.environment)
  const vm = await bootWith(world, { count: 1, max: 4 })
  const pid = await vm.pid()
  await failpoints.arm('vm.vcpus.after-plug', 'exit')
  await vm.apply(tinySpec({ cpu: { count: 4, max: 4 } }))
  await world.daemon.exited
  assert.equal(vcpuThreads(pid), 2)
  await failpoints.disarm()

  await world.startDaemon()

  await untilCount(vm, 4)
  assert.equal(await vm.pid(), pid)
  assert.equal(vcpuThreads(pid), 4)
  await eventually(async () => ((await vm.shell('nproc')) === '4' ? true : undefined), {
    withinMs: 30_000,
    what: 'the guest uses all four',
  })
  assert.deepEqual((await vm.show()).status.restartNeeded, [])
})

test('a change that a dead daemon had only written down is made by the next', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await bootWith(world, { count: 1, max: 4 })
  const changed = vm.apply(tinySpec({ cpu: { count: 4, max: 4 } })).catch(() => undefined)
  await changed
  await world.daemon.kill9()

  await world.startDaemon()

  await untilCount(vm, 4)
  assert.equal((await vm.show()).spec.cpu.count, 4)
})

test('of two clients at once one wins, the other is told, and the VM has what its spec says', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await bootWith(world, { count: 1, max: 4 })

  const answers = await Promise.allSettled([
    vm.apply(tinySpec({ cpu: { count: 2, max: 4 } }), { ifMatch: 1 }),
    vm.apply(tinySpec({ cpu: { count: 2, max: 4 }, description: 'x' }), { ifMatch: 1 }),
  ])
  await Promise.allSettled([setCpu(world, { count: 4, max: 4 }), setCpu(world, { count: 3, max: 4 })])

  assert.deepEqual(answers.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  const { spec, status } = await vm.show()
  // Three after four waits for the next boot under TCG, and four after three is made at once.
  assert.deepEqual(status.restartNeeded, status.cpu?.count === spec.cpu.count ? [] : ['cpu.count'])
  assert.equal(await vm.shell('nproc'), String(status.cpu?.count))
})

test('a guest sees the baseline that it was given, and its flags', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await bootWith(world, { model: 'x86-64-v2', features: { aes: true } })

  const flags = new Set((await vm.shell('grep -m1 ^flags /proc/cpuinfo')).split(/\s+/))

  assert.deepEqual(
    ['sse4_2', 'ssse3', 'popcnt', 'cx16', 'aes'].filter((flag) => !flags.has(flag)),
    [],
  )
  assert.deepEqual(
    ['avx', 'avx2', 'svm', 'vmx'].filter((flag) => flags.has(flag)),
    [],
  )
})

test('a CPU that cannot be had is refused before anything starts, by the words of what is wrong', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const refusals: readonly (readonly [Cpu, RegExp])[] = [
    [{ count: 5, max: 4 }, /cannot have 5 vCPUs, because its cpu\.max is 4/],
    [{ count: 4, topology: { cores: 3 } }, /makes 3 vCPUs .* its count is 4/],
    [{ model: 'x86-64-v4' }, /lacks the flags avx512bw, avx512cd, avx512dq, avx512f, avx512vl/],
    [{ model: 'Skylake-Servr' }, /no CPU model Skylake-Servr.*Did you mean Skylake-Server/],
    [{ features: { avx51f: true } }, /no CPU flag avx51f.*Did you mean avx512f/],
    [{ features: { avx512f: true } }, /lacks the flag avx512f/],
    [{ nested: false, features: { svm: true } }, /cpu\.nested false and the CPU flag svm on/],
  ]

  for (const [cpu, sentence] of refusals) {
    const body = { name: 'bad', spec: tinySpec({ accelerator: 'tcg', cpu }) }
    await assert.rejects(world.client.call(endpoints.createVm, { body }), { message: sentence })
  }

  const ran = await world.cli('vm', 'create', 'bad', '--image', 'tiny', '--vcpus', '5', '--max-vcpus', '4')
  assert.equal(ran.code, 2)
  assert.match(ran.stderr, /cpu\.max is 4/)
  assert.deepEqual(await world.client.call(endpoints.listVms), [])
})

test('the command line follows a change of vCPUs and shows what there is', { skip }, async (t) => {
  await using world = await openWorld(t)
  await bootWith(world, { count: 1, max: 4 })

  const set = await world.cli('vm', 'set', 'web1', 'vcpus=2')
  const shown = await world.cli('vm', 'show', 'web1')
  const tooMany = await world.cli('vm', 'set', 'web1', 'vcpus=5')

  assert.match(set.stdout + set.stderr, /VM web1 is changed\. It has 2 of 4 vCPUs; its guest uses 2\./)
  assert.match(shown.stdout, /CPU +2 of at most 4 vCPUs, model \w+ \(auto\)/)
  assert.match(tooMany.stderr, /cannot have 5 vCPUs/)
})
