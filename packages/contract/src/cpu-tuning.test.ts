import assert from 'node:assert/strict'
import { test } from 'node:test'
import { vmSpec } from './vm-spec.ts'

function issues(cpu: unknown): string {
  const result = vmSpec.safeParse({ cpu })
  assert.equal(result.success, false, JSON.stringify(cpu))
  return result.error?.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('\n') ?? ''
}

test('lists of CPUs are kept in their shortest form, so that the same set is the same value', () => {
  const { cpu } = vmSpec.parse({
    cpu: {
      cpus: '0-3,8,^2',
      pin: { vcpus: { 0: '3,2,1', 12: '7' }, emulator: 0, ioThreads: { root: '4-5,6' } },
    },
  })

  assert.equal(cpu.cpus, '0-1,3,8')
  assert.deepEqual(cpu.pin, { vcpus: { 0: '1-3', 12: '7' }, emulator: '0', ioThreads: { root: '4-6' } })
  assert.deepEqual(vmSpec.parse({ cpu }).cpu, cpu)
})

test('what is no list of CPUs is refused, and names the thread that it is for', () => {
  assert.match(issues({ cpus: 'all' }), /cpu\.cpus: is not a list of CPUs such as/)
  assert.match(issues({ cpus: '0-9999' }), /none above 8191/)
  assert.match(issues({ pin: { vcpus: { 1: '3-1' } } }), /cpu\.pin\.vcpus\.1: is not a list/)
  assert.match(issues({ pin: { emulator: '1,^1' } }), /takes away every CPU that it names/)
  issues({ pin: { vcpus: { x: '1' } } })
  issues({ pin: { vcpus: { '-1': '1' } } })
  issues({ pin: { vcpus: { '01': '1' } } })
})

test('weights and quotas have the bounds of the kernel', () => {
  assert.equal(vmSpec.parse({ cpu: { weight: 10_000, quotaPercent: 150 } }).cpu.quotaPercent, 150)
  for (const weight of [0, 10_001, 1.5, '100']) issues({ weight })
  for (const quotaPercent of [0, -50, 0.5, 100_001]) issues({ quotaPercent })
  issues({ threadLimits: { emulator: { weight: 0 } } })
})

test('only the real-time policies have a priority', () => {
  assert.deepEqual(vmSpec.parse({ cpu: { scheduler: { policy: 'fifo' } } }).cpu.scheduler, {
    policy: 'fifo',
    priority: 1,
  })
  issues({ scheduler: { policy: 'idle', priority: 5 } })
  issues({ scheduler: { policy: 'rr', priority: 100 } })
  issues({ scheduler: { policy: 'deadline' } })
})

test('a list that could not be read back is refused, as are more pins than there are threads', () => {
  const holes = Array.from({ length: 200 }, (_, index) => `^${102 + index * 4}`)

  assert.match(issues({ cpus: ['100-999', ...holes].join(',') }), /longer than 1024 characters/)
  const many = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`d${index}`, '0']))
  assert.match(issues({ pin: { ioThreads: many } }), /cpu\.pin\.ioThreads: pins more than 256 threads/)
})
