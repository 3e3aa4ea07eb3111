import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatCpuList, KvasirError, parseCpuList, type VmSpecInput, vmSpec } from '@kvasir/contract'
import fc from 'fast-check'
import { cpuLimits, unenforceable } from './cpu-limits.ts'
import { type HostCpuSets, requireUsableCpus } from './host-cpus.ts'
import { cpusOf, isTuned, namesThreads, planThreads } from './plan-threads.ts'
import { unrestricted } from './thread-layout.ts'

/** Eight CPUs: 3 is offline, 6 and 7 are isolated, 5 belongs to another cpuset. */
const host: HostCpuSets = {
  present: [0, 1, 2, 3, 4, 5, 6, 7],
  online: [0, 1, 2, 4, 5, 6, 7],
  allowed: [0, 1, 2, 4, 6, 7],
  inherited: [0, 1, 2, 4],
}

type Cpu = NonNullable<VmSpecInput['cpu']>

const spec = (cpu: Cpu) => vmSpec.parse({ cpu: { count: 4, ...cpu }, disks: [{ name: 'root' }] })
const plan = (cpu: Cpu, placed = unrestricted) =>
  planThreads({ name: 'web1', cpu: spec(cpu).cpu }, host, placed)

function refusal(cpu: Cpu): string {
  try {
    requireUsableCpus('web1', spec(cpu), host)
  } catch (error) {
    assert.ok(error instanceof KvasirError)
    return `${error.code}: ${error.message}`
  }
  return 'none'
}

test('a spec without tuning asks for no plan', () => {
  assert.equal(isTuned(spec({}).cpu), false)
  assert.equal(isTuned(spec({ weight: 300 }).cpu), true)
})

test('a thread has its pin, else the CPUs of the VM, else what a program has that asks for nothing', () => {
  const pinned = plan({ cpus: '0-2,6', pin: { vcpus: { 1: '6' }, emulator: '0' } })
  assert.deepEqual(cpusOf(pinned, { kind: 'vcpu', index: 1 }), [6])
  assert.deepEqual(cpusOf(pinned, { kind: 'vcpu', index: 0 }), [0, 1, 2, 6])
  assert.deepEqual(cpusOf(pinned, { kind: 'emulator' }), [0])
  assert.deepEqual(cpusOf(pinned, { kind: 'io', disk: 'root' }), [0, 1, 2, 6])

  assert.deepEqual(cpusOf(plan({ weight: 10 }), { kind: 'emulator' }), host.inherited)
})

test('a pin of the spec outranks what a planner found, which stands for the other threads', () => {
  const placed = {
    vcpus: new Map([
      [0, [1]],
      [1, [2]],
    ]),
    emulator: [4],
    ioThreads: new Map(),
    memoryNodes: [1],
  }
  const both = plan({ pin: { vcpus: { 0: '7' } } }, placed)

  assert.deepEqual(cpusOf(both, { kind: 'vcpu', index: 0 }), [7])
  assert.deepEqual(cpusOf(both, { kind: 'vcpu', index: 1 }), [2])
  assert.deepEqual(cpusOf(both, { kind: 'emulator' }), [4])
  assert.deepEqual(both.layout.memoryNodes, [1])
})

test('CPUs that have gone are left out, and a thread that would have none is refused', () => {
  assert.deepEqual(cpusOf(plan({ pin: { vcpus: { 0: '2-3' } } }), { kind: 'vcpu', index: 0 }), [2])
  assert.throws(() => plan({ pin: { emulator: '3' } }), {
    code: 'unsupported',
    message:
      'The emulator thread of VM web1 is to run on CPU 3, of which none can be used now, so it cannot run.',
  })
})

test('CPUs that do not exist, are offline or are not allowed are each refused by number', () => {
  assert.match(
    refusal({ pin: { vcpus: { 0: '0,8-9' } } }),
    /^unsupported: vCPU 0 of VM web1 cannot be given CPUs 8-9, which do not exist: this host has CPUs 0-7\.$/,
  )
  assert.match(
    refusal({ pin: { emulator: '2-4' } }),
    /^unsupported: The emulator thread .* CPU 3, which is offline\.$/,
  )
  assert.match(
    refusal({ pin: { ioThreads: { root: '5' } } }),
    /I\/O thread of disk root .* CPU 5, which is outside the CPUs 0-2,4,6-7 that the cpuset/,
  )
  assert.match(
    refusal({ cpus: '0-1', pin: { vcpus: { 2: '1-2' } } }),
    /vCPU 2 .* CPU 2, which is outside the CPUs 0-1 that the VM may use/,
  )
  assert.equal(refusal({ cpus: '0-2', pin: { vcpus: { 3: '0' }, emulator: '6' } }).includes('CPU 6'), true)
  assert.equal(refusal({ pin: { vcpus: { 0: '6-7' } } }), 'none')
})

test('threads that the VM does not have cannot be pinned', () => {
  assert.match(
    refusal({ pin: { vcpus: { 4: '0' } } }),
    /^plan-refused: VM web1 has 4 vCPUs, counted from 0, so its vCPU 4/,
  )
  assert.match(refusal({ pin: { ioThreads: { data: '0' } } }), /VM web1 has no disk data with an I\/O thread/)
})

test('threads are told apart only where something is asked of single ones', () => {
  assert.equal(namesThreads(plan({ weight: 300, quotaPercent: 50, cpus: '0-2' })), false)
  assert.equal(namesThreads(plan({ scheduler: { policy: 'batch' } })), false)
  assert.equal(namesThreads(plan({ pin: { vcpus: { 0: '1' } } })), true)
  assert.equal(namesThreads(plan({ threadLimits: { emulator: { quotaPercent: 20 } } })), true)
})

test('whatever is asked, no thread gets a CPU that is not allowed, nor one outside those of its VM', () => {
  const set = fc.uniqueArray(fc.integer({ min: 0, max: 7 }), { minLength: 1 })
  const list = set.map(formatCpuList)
  fc.assert(
    fc.property(fc.option(list, { nil: undefined }), list, list, (cpus, vcpu, emulator) => {
      const cpu = { ...(cpus === undefined ? {} : { cpus }), pin: { vcpus: { 0: vcpu }, emulator } }
      let planned: ReturnType<typeof plan>
      try {
        planned = plan(cpu)
      } catch (error) {
        assert.ok(error instanceof KvasirError)
        return
      }
      const own = cpus === undefined ? host.present : (parseCpuList(cpus) ?? [])
      for (const role of [
        { kind: 'vcpu', index: 0 },
        { kind: 'vcpu', index: 1 },
        { kind: 'emulator' },
      ] as const) {
        const got = cpusOf(planned, role)
        assert.ok(got.length > 0)
        assert.ok(got.every((one) => host.allowed.includes(one) && own.includes(one)))
      }
    }),
  )
})

test('a quota is part of a period of 100 ms, and what is not asked for is taken back', () => {
  assert.deepEqual(cpuLimits({ weight: 300, quotaPercent: 150 }, [0, 1, 4]), {
    files: { 'cpu.weight': '300', 'cpu.max': '150000 100000', 'cpuset.cpus': '0-1,4\n' },
    asked: ['cpu.weight', 'cpu.max', 'cpuset.cpus'],
  })
  assert.deepEqual(cpuLimits({}, undefined), {
    files: { 'cpu.weight': '100', 'cpu.max': 'max 100000', 'cpuset.cpus': '\n' },
    asked: [],
  })
})

test('what a host without controllers cannot enforce is said of what was asked for, and of nothing else', () => {
  const { cpu } = spec({ weight: 300, quotaPercent: 50, pin: { emulator: '0' } })

  assert.deepEqual(unenforceable(cpu, ['cpu', 'cpuset']), [])
  assert.deepEqual(unenforceable(spec({}).cpu, []), [])
  const sentences = unenforceable(cpu, [])
  assert.equal(sentences.length, 3)
  assert.match(
    sentences.join('\n'),
    /its weight 300 is not enforced.*\n.*its quota of 50 % of a CPU is not.*\n.*affinity alone/,
  )
})
