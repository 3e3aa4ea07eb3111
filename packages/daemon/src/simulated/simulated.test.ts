import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { testEmulators } from '../ports/emulators.suite.ts'
import type { EmulatorEvent, LaunchRequest } from '../ports/emulators.ts'
import { testStateFiles } from '../ports/files.suite.ts'
import { testPools } from '../ports/pools.suite.ts'
import { SimulatedMachine } from './machine.ts'
import { SimulatedClock } from './simulated-clock.ts'
import { createSimulatedEmulators } from './simulated-emulators.ts'
import { createSimulatedFiles } from './simulated-files.ts'
import { createSimulatedPools } from './simulated-pools.ts'

const never = new AbortController().signal

function request(id: string): LaunchRequest {
  return {
    id,
    uuid: id,
    name: 'web1',
    uid: 1,
    memo: `memo of ${id}`,
    vcpuCount: 2,
    memoryBytes: 2 ** 28,
    plan: {
      argv: ['-smp', 'cpus=2,maxcpus=4'],
      descriptors: [],
      binds: [],
      userNics: [],
      memory: {
        fileSystem: undefined,
        withoutThp: false,
        lockableBytes: undefined,
        touchedBytes: 0,
        loadedBytes: 0,
      },
      reach: [],
      mostIoThreads: 0,
      secrets: [],
      ids: { ioThreads: [], disks: {}, nics: {}, vncSocketName: 'vnc' },
    },
  }
}

testEmulators({
  name: 'simulated emulators',
  async open() {
    const machine = new SimulatedMachine(new SimulatedClock())
    return {
      emulators: createSimulatedEmulators(machine),
      follow: async () => createSimulatedEmulators(machine),
      request: async (id) => request(id),
      kill: async (id) => machine.processOf(id).dies({ code: undefined, signal: 'SIGKILL' }),
    }
  },
})

testPools({
  name: 'simulated pools',
  async open() {
    const machine = new SimulatedMachine(new SimulatedClock())
    const pools = createSimulatedPools(machine)
    const source = { type: 'dir', path: '/srv/pool' } as const
    return {
      pool: pools.of({ id: 'pool-1', source }),
      rival: pools.of({ id: 'pool-2', source }),
      addForeign: async () => {
        const file = 'other.img'
        machine.volumes.set('other', {
          capacityBytes: 1,
          allocatedBytes: 1,
          basePath: undefined,
          folder: source.path,
          file,
        })
        return file
      },
    }
  },
})

testStateFiles({
  name: 'simulated files',
  async open() {
    const machine = new SimulatedMachine(new SimulatedClock())
    return {
      files: createSimulatedFiles(machine),
      writePartialSave: async (vmId, content) =>
        void machine.saves.set(vmId, { partial: content, whole: undefined }),
    }
  },
})

test('a simulated emulator that is mute is unresponsive after its time, and speaks again', async () => {
  const clock = new SimulatedClock()
  const machine = new SimulatedMachine(clock)
  const emulators = createSimulatedEmulators(machine)
  const emulator = await emulators.launch(request('a'), never)
  machine.processOf('a').goesMute()

  const refused = assert.rejects(
    emulator.runState(),
    (error) => error instanceof KvasirError && error.code === 'emulator-unresponsive',
  )
  const adopted = emulators.adopt('a', { timeoutMs: 500 })
  await new Promise((resolve) => setImmediate(resolve))
  await clock.advance(machine.commandTimeoutMs)
  await refused
  assert.equal((await adopted).kind, 'unresponsive')

  machine.processOf('a').speaksAgain()
  assert.equal(await emulator.runState(), 'prelaunch')
})

test('a simulated guest tells what happens to it in the order of QEMU', async () => {
  const machine = new SimulatedMachine(new SimulatedClock())
  const emulator = await createSimulatedEmulators(machine).launch(request('a'), never)
  const events: EmulatorEvent['kind'][] = []
  emulator.onEvent((event) => events.push(event.kind))
  const guest = machine.processOf('a')

  await emulator.resume()
  guest.guestReboots()
  await new Promise((resolve) => setImmediate(resolve))
  guest.guestPanics()
  assert.equal(await emulator.runState(), 'guest-panicked')
  await emulator.reset()
  await emulator.resume()
  await emulator.pressPowerButton()
  await new Promise((resolve) => setImmediate(resolve))

  assert.equal(await emulator.runState(), 'shutdown')
  assert.deepEqual(
    events.filter((kind) => kind !== 'agent'),
    ['resumed', 'reset', 'panicked', 'stopped', 'reset', 'resumed', 'powering-down', 'shutdown', 'stopped'],
  )
})

test('a simulated clock wakes sleepers in order, and not those that were aborted', async () => {
  const clock = new SimulatedClock()
  const woken: string[] = []
  const abort = new AbortController()
  void clock.sleep(20).then(() => woken.push('late'))
  void clock.sleep(10).then(() => woken.push('early'))
  const aborted = assert.rejects(clock.sleep(5, abort.signal), /enough/)
  abort.abort(new Error('enough'))

  await clock.advance(15)
  assert.deepEqual(woken, ['early'])
  await clock.advance(5)

  assert.deepEqual(woken, ['early', 'late'])
  await aborted
  assert.equal(clock.now(), '2026-01-01T00:00:00.020Z')
})
