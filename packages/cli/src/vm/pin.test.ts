import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Vm, type VmSpec, vmSpec } from '@kvasir/contract'
import { parseScheduler } from './cpu-from-flags.ts'
import { withPin } from './pin.ts'
import { sharingWords, threadLines, threadRows } from './threads.ts'

const spec = vmSpec.parse({
  cpu: { count: 2, weight: 300, scheduler: { policy: 'fifo', priority: 5 } },
  disks: [{ name: 'root' }, { name: 'slow', ioThread: false }],
})

test('a pin goes to the thread that was named, and beside the others', () => {
  const once = vmSpec.parse(withPin(spec, '1', '0-3,^2'))
  const both = vmSpec.parse(withPin(once, 'emulator', '4'))
  const all = vmSpec.parse(withPin(both, 'root', '5'))

  assert.deepEqual(all.cpu.pin, { vcpus: { 1: '0-1,3' }, emulator: '4', ioThreads: { root: '5' } })
  assert.throws(() => withPin(spec, 'data', '1'), /data is no thread of this VM/)
})

test('the last pin that is taken back leaves a spec as if there never was one', () => {
  const pinned = vmSpec.parse(withPin(vmSpec.parse(withPin(spec, '0', '1')), 'emulator', '2'))

  const half = vmSpec.parse(withPin(pinned, '0', undefined))
  assert.deepEqual(half.cpu.pin, { vcpus: {}, emulator: '2', ioThreads: {} })
  assert.deepEqual(vmSpec.parse(withPin(half, 'emulator', undefined)), spec)
})

const off: Vm = {
  name: 'web1',
  uuid: '5b1f2a34-77aa-4b0e-8f53-0c2f4a6f9d11',
  revision: 1,
  createdAt: '2026-11-21T10:00:00Z',
  spec: vmSpec.parse(withPin(spec, '3', '7')),
  status: { state: 'shutoff', reason: 'it was never started', since: '2026-11-21T10:00:00Z' },
}
const running: Vm = {
  ...off,
  status: {
    ...off.status,
    state: 'running',
    vcpus: [
      {
        index: 0,
        threadId: 41,
        cpuSeconds: 1.25,
        waitSeconds: 0.5,
        lastCpu: 2,
        cpus: '0-7',
        policy: 'fifo:5',
      },
    ],
    emulatorThread: { threadId: 40, cpus: '0-7', policy: 'other' },
  },
}

test('vhost has a pin of its own, has the emulator’s without it, and gives it back', () => {
  const pinned = vmSpec.parse(withPin(vmSpec.parse(withPin(spec, 'emulator', '1')), 'vhost', '2'))
  const back = vmSpec.parse(withPin(pinned, 'vhost', undefined))
  const vhostThreads = [{ threadId: 50, cpus: '2' }]
  const pinOf = (of: VmSpec) =>
    threadRows({ ...running, spec: of, status: { ...running.status, vhostThreads } }).at(-1)?.pin

  assert.deepEqual(pinned.cpu.pin, { vcpus: {}, emulator: '1', vhost: '2', ioThreads: {} })
  assert.deepEqual([pinOf(pinned), pinOf(back)], ['2', '1'])
  assert.deepEqual(threadRows({ ...off, spec: pinned }).at(-1)?.thread, 'vhost')
})

test('every thread has a row, also a vCPU that is only pinned yet and a VM that is off', () => {
  assert.deepEqual(
    threadRows(off).map(({ thread, kind, pin }) => [thread, kind, pin]),
    [
      ['0', 'vCPU', undefined],
      ['1', 'vCPU', undefined],
      ['3', 'vCPU', '7'],
      ['emulator', 'emulator', undefined],
      ['root', 'I/O', undefined],
    ],
  )
})

test('a running VM tells of each thread where it runs and how long it waited', () => {
  assert.deepEqual(threadLines(off), [])
  assert.deepEqual(threadLines(running), [
    'vCPU 0  thread 41, last on CPU 2, fifo:5, 1.3 s CPU, 0.5 s waiting',
    'emulator  thread 40',
  ])
  assert.equal(sharingWords(running), 'weight 300, policy fifo 5')
})

test('a policy is a word, with a priority where it has one', () => {
  assert.deepEqual(parseScheduler('idle'), { policy: 'idle' })
  assert.deepEqual(parseScheduler('rr:20'), { policy: 'rr', priority: 20 })
  assert.deepEqual(parseScheduler('fifo'), { policy: 'fifo' })
  for (const text of ['', 'idle:3', 'fifo:x', 'fifo:100', 'deadline'])
    assert.throws(() => parseScheduler(text))
})
