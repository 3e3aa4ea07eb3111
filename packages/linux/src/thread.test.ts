import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseThread } from './thread.ts'

/** A stat line whose fields from the third on are numbered, but for the ones given. */
function statOf(name: string, fields: Readonly<Record<number, number>>): string {
  const rest = Array.from({ length: 50 }, (_, index) => fields[index + 3] ?? 0)
  return `42 (${name}) ${rest.join(' ')}\n`
}

test('a thread is read whatever its name, and its times come from schedstat', () => {
  const thread = parseThread({
    stat: statOf('CPU 0/KVM) (x', { 14: 500, 15: 25, 39: 7, 40: 3, 41: 1 }),
    schedstat: '2500000000 750000000 12\n',
    status: 'Name:\tCPU 0/KVM\nCpus_allowed:\t8f\nCpus_allowed_list:\t0-3,7\n',
  })

  assert.deepEqual(thread, {
    name: 'CPU 0/KVM) (x',
    cpuSeconds: 2.5,
    waitSeconds: 0.75,
    lastCpu: 7,
    allowedList: '0-3,7',
    allowedCpus: [0, 1, 2, 3, 7],
    policy: 'fifo',
    priority: 3,
  })
})

test('a kernel without schedstat still tells CPU time, in ticks', () => {
  const thread = parseThread({
    stat: statOf('a', { 14: 150, 15: 50, 41: 6 }),
    schedstat: undefined,
    status: '',
  })

  assert.equal(thread.cpuSeconds, 2)
  assert.equal(thread.waitSeconds, 0)
  assert.equal(thread.policy, undefined)
  assert.deepEqual(thread.allowedCpus, [])
})
