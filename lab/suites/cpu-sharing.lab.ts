/**
 * Fair shares, limits and pins as the kernel keeps them: measured in the cgroups of busy KVM guests, read from /proc.
 *
 * The lab's CPUs share fewer real ones, so seconds of CPU time mean nothing; what counts is the ratio of what two VMs got on one CPU, and
 * of what one VM got to the time that went by on the same clock.
 */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import type { VmHandle } from '../../e2e/machine/vm-handle.ts'
import { openWorld, type World } from '../../e2e/machine/world.ts'
import { needs } from '../../tools/require.ts'
import { sh } from '../testing/shell.ts'

const skip = needs('lab', 'root', 'qemu')
const measureMs = 12_000
/** What the promise allows: 10 %. */
const tolerance = 0.1

const read = (path: string) => readFileSync(path, 'utf8').trim()

async function groupOf(vm: VmHandle): Promise<string> {
  return (await vm.show()).status.cgroup ?? assert.fail('the status names no cgroup')
}

/** The CPU time that a group has had, in microseconds. */
function usageOf(group: string): number {
  return Number(/^usage_usec (\d+)$/m.exec(read(join(group, 'cpu.stat')))?.[1])
}

/** Makes the guest use all that its vCPU gets. */
async function keepBusy(vm: VmHandle): Promise<void> {
  await vm.shell('sh -c "while :; do :; done" >/dev/null 2>&1 </dev/null & true')
}

/** What groups got meanwhile, in parts of the time that went by. */
async function sharesOf(groups: readonly string[]): Promise<readonly number[]> {
  const before = groups.map(usageOf)
  const startedAt = performance.now()
  await pause(measureMs)
  const passedMicroseconds = (performance.now() - startedAt) * 1000
  return groups.map((group, index) => (usageOf(group) - (before[index] ?? 0)) / passedMicroseconds)
}

function assertNear(actual: number, wanted: number, what: string): void {
  const isNear = Math.abs(actual - wanted) <= wanted * tolerance
  assert.ok(isNear, `${what} is ${actual.toFixed(3)}, more than 10 % from ${wanted}`)
}

const allowedOf = async (pid: number, thread: number) =>
  /^Cpus_allowed_list:\s+(\S+)/m.exec(read(`/proc/${pid}/task/${thread}/status`))?.[1]

async function vcpuThread(vm: VmHandle, index: number): Promise<number> {
  const { status } = await vm.show()
  return status.vcpus?.find((vcpu) => vcpu.index === index)?.threadId ?? assert.fail('it was not measured')
}

async function run(world: World, ...argv: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await world.cli(...argv)
  assert.equal(code, 0, stderr)
  return stdout
}

test('two busy VMs with weights 100 and 300 on one CPU get its time 1 to 3, and 1 to 1 when that is changed', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const small = await world.bootTiny('small', { cpu: { cpus: '3' } })
  const large = await world.bootTiny('large', { cpu: { cpus: '3', weight: 300 } })
  await Promise.all([keepBusy(small), keepBusy(large)])
  const groups = [await groupOf(small), await groupOf(large)]
  assert.deepEqual((await large.show()).status.cageLimits, [])

  const [one = 0, three = 0] = await sharesOf(groups)
  t.diagnostic(
    `Shares of the CPU: ${one.toFixed(3)} and ${three.toFixed(3)}, 1 to ${(three / one).toFixed(2)}`,
  )
  assertNear(three / one, 3, 'The ratio')

  await run(world, 'vm', 'set', 'large', 'cpu.weight=100')
  const [left = 0, right = 0] = await sharesOf(groups)
  t.diagnostic(`Alike: ${left.toFixed(3)} and ${right.toFixed(3)}, 1 to ${(right / left).toFixed(2)}`)
  assertNear(right / left, 1, 'The ratio of equals')
})

test('a quota of half a CPU holds, and is set and lifted while the guest runs', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { cpu: { cpus: '2' } })
  const group = await groupOf(vm)
  await keepBusy(vm)

  await run(world, 'vm', 'set', 'web1', 'cpu.quotaPercent=50')
  const [half = 0] = await sharesOf([group])
  t.diagnostic(`With a quota of 50 %: ${half.toFixed(3)} of a CPU`)
  assertNear(half, 0.5, 'The share')

  await run(world, 'vm', 'set', 'web1', 'cpu.quotaPercent=')
  assert.match(read(join(group, 'cpu.max')), /^max /)
  const [whole = 0] = await sharesOf([group])
  t.diagnostic(`Without: ${whole.toFixed(3)}`)
  assert.ok(whole > 0.75, `${whole}`)
})

test('pins are cpusets that nobody moves a thread out of; they and the policy hold over a death of the daemon', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', {
    cpu: {
      count: 2,
      pin: { vcpus: { 0: '2' }, emulator: '0-1' },
      scheduler: { policy: 'fifo', priority: 3 },
    },
    disks: [{ name: 'data', size: '16MiB' }],
  })
  await run(world, 'vm', 'pin', 'web1', '1', '2-3,^2')
  await run(world, 'vm', 'pin', 'web1', 'data', '1')
  const [group, pid] = [await groupOf(vm), await vm.pid()]
  const [first, second] = [await vcpuThread(vm, 0), await vcpuThread(vm, 1)]

  for (const [child, cpus] of [
    ['vcpu0', '2'],
    ['vcpu1', '3'],
    ['emulator', '0-1'],
    ['io-data', '1'],
  ] as const) {
    assert.equal(read(join(group, child, 'cpuset.cpus')), cpus, child)
    assert.equal(read(join(group, child, 'cgroup.type')), 'threaded')
  }
  assert.equal(await allowedOf(pid, first), '2')
  assert.equal(await allowedOf(pid, second), '3')
  assert.equal(await allowedOf(pid, pid), '0-1')
  await assert.rejects(sh(`taskset --pid --cpu-list 0 ${first}`))
  assert.match(await sh(`chrt --pid ${first}`), /SCHED_FIFO[\s\S]*priority: 3/)

  await world.daemon.kill9()
  writeFileSync(join(group, 'vcpu1', 'cpuset.cpus'), '0')
  await world.startDaemon()
  assert.equal(await allowedOf(pid, second), '3')
  await vm.assertCaged()
  assert.match(await run(world, 'vm', 'pin', 'web1'), /^1 +vCPU +3 +3 +3 +fifo:3 /m)
  await run(world, 'vm', 'set', 'web1', 'cpu.scheduler=')
  assert.match(await sh(`chrt --pid ${first}`), /SCHED_OTHER/)
  await vm.isCounting()
})

test('a CPU that is offline is refused by number, and taken once it is back', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { cpu: { pin: { vcpus: { 0: '2-3' } } } })
  const [pid, thread] = [await vm.pid(), await vcpuThread(vm, 0)]
  const switchFile = '/sys/devices/system/cpu/cpu3/online'
  writeFileSync(switchFile, '0')
  try {
    const refused = await world.cli('vm', 'pin', 'web1', '0', '3')
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /vCPU 0 of VM web1 cannot be given CPU 3, which is offline\./)
    assert.equal(await allowedOf(pid, thread), '2')
    await vm.isCounting()
  } finally {
    writeFileSync(switchFile, '1')
  }
  assert.equal(await allowedOf(pid, thread), '2-3')
  await run(world, 'vm', 'pin', 'web1', '0', '3')
  assert.equal(await allowedOf(pid, thread), '3')
})
