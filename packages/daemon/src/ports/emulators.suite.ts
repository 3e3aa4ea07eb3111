/** What every implementation of emulators must do: launch, talk, end, and be found again by the daemon that follows. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Emulator, EmulatorEvent, Emulators, LaunchRequest } from './emulators.ts'

/** Emulators to test, on a host of their own. */
export interface EmulatorsUnderTest {
  readonly emulators: Emulators
  /** The same host as the next daemon sees it. */
  readonly follow: () => Promise<Emulators>
  /** A request that can be launched. The guest need not boot. */
  readonly request: (id: string) => Promise<LaunchRequest>
  /** Kills a VM's process from outside. */
  readonly kill: (id: string) => Promise<void>
}

export interface EmulatorsSuiteOptions {
  readonly name: string
  readonly skip?: string | false
  readonly open: (t: TestContext) => Promise<EmulatorsUnderTest>
}

const vm1 = '8f9d6d8e-3a51-4f9e-9d0c-3c8f0a1b2c3d'
const vm2 = '11111111-2222-4333-8444-555555555555'
const waitMs = 5_000

/** Adds the tests for one implementation. */
export function testEmulators({ name, skip = false, open }: EmulatorsSuiteOptions): void {
  for (const [sentence, check] of promises)
    void test(`${name}: ${sentence}`, { skip }, async (t) => {
      const given = await open(t)
      t.after(async () => {
        for (const id of [vm1, vm2]) await given.emulators.clean(id)
      })
      const launch = async (id: string) =>
        await given.emulators.launch(await given.request(id), new AbortController().signal)
      await check({ ...given, launch })
    })
}

interface Launching extends EmulatorsUnderTest {
  readonly launch: (id: string) => Promise<Emulator>
}

const promises: readonly [sentence: string, check: (given: Launching) => Promise<void>][] = [
  [
    'an emulator stands before its first instruction until it is resumed',
    async ({ launch }) => {
      const emulator = await launch(vm1)
      const events: EmulatorEvent['kind'][] = []
      emulator.onEvent((event) => events.push(event.kind))

      assert.equal(await emulator.runState(), 'prelaunch')
      await emulator.resume()
      assert.equal(await emulator.runState(), 'running')
      await emulator.pause()
      assert.equal(await emulator.runState(), 'paused')

      await until(() => events.includes('resumed') && events.includes('stopped'))
    },
  ],

  [
    'a listener that was taken away hears nothing more',
    async ({ launch }) => {
      const emulator = await launch(vm1)
      let heard = 0
      const stop = emulator.onEvent(() => heard++)
      stop()

      await emulator.resume()
      await emulator.pause()

      assert.equal(heard, 0)
    },
  ],

  [
    'an emulator has as many vCPU threads as were asked for',
    async ({ launch, request }) => {
      const { vcpuCount } = await request(vm1)
      const emulator = await launch(vm1)

      const threads = await emulator.vcpuThreads()
      const statistics = await emulator.statistics()

      assert.deepEqual(
        threads.map(({ index }) => index),
        Array.from({ length: vcpuCount }, (_, index) => index),
      )
      assert.equal(statistics.vcpus.length, vcpuCount)
      assert.ok(statistics.residentBytes > 0)
    },
  ],

  [
    'vCPUs are plugged one after another, as far as there is room, and the daemon that follows counts them',
    async ({ launch, follow }) => {
      const emulator = await launch(vm1)
      assert.equal(await emulator.vcpus.count(), 2)

      await emulator.vcpus.plug()
      await emulator.vcpus.plug()

      assert.equal(await emulator.vcpus.count(), 4)
      await assert.rejects(emulator.vcpus.plug(), { code: 'unsupported' })
      const threads = await emulator.vcpuThreads()
      assert.deepEqual(
        threads.map(({ index }) => index),
        [0, 1, 2, 3],
      )
      assert.equal(new Set(threads.map(({ threadId }) => threadId)).size, 4)
      assert.equal((await emulator.statistics()).vcpus.length, 4)
      await emulator.release()
      const found = await (await follow()).adopt(vm1, { timeoutMs: 2_000 })
      assert.ok(found.kind === 'alive')
      assert.deepEqual(await found.emulator.vcpuThreads(), threads)
      await found.emulator.release()
    },
  ],

  [
    'a running VM is not launched a second time',
    async ({ launch }) => {
      const emulator = await launch(vm1)

      await assert.rejects(launch(vm1))

      assert.equal(await emulator.runState(), 'prelaunch')
    },
  ],

  [
    'a launch that is cancelled leaves nothing',
    async ({ emulators, request }) => {
      const launch = emulators.launch(await request(vm1), AbortSignal.abort(new Error('cancelled')))

      await assert.rejects(launch)

      assert.deepEqual(await emulators.present(), [])
    },
  ],

  [
    'an emulator that was ended is closed, and cleaning leaves nothing',
    async ({ launch, emulators }) => {
      const emulator = await launch(vm1)

      await emulator.end({ graceMs: 1_000 })
      await emulators.clean(vm1)
      await emulators.clean(vm1)

      assert.deepEqual(await emulators.present(), [])
      assert.equal((await emulators.adopt(vm1, { timeoutMs: 1_000 })).kind, 'gone')
    },
  ],

  [
    'an emulator that is killed closes by itself',
    async ({ launch, kill }) => {
      const emulator = await launch(vm1)

      await kill(vm1)

      const exit = await emulator.closed
      assert.equal(exit.signal ?? 'SIGKILL', 'SIGKILL')
      await assert.rejects(emulator.runState())
    },
  ],

  [
    'the daemon that follows finds, asks and ends it',
    async ({ launch, emulators, follow }) => {
      const first = await launch(vm1)
      await launch(vm2)
      await first.resume()
      await first.release()

      const next = await follow()
      assert.deepEqual([...(await next.present())].toSorted(inOrder), [vm1, vm2].toSorted(inOrder))
      const found = await next.adopt(vm1, { timeoutMs: 2_000 })

      assert.ok(found.kind === 'alive')
      assert.equal(found.emulator.record.pid, first.record.pid)
      assert.equal(found.emulator.record.startTicks, first.record.startTicks)
      assert.equal(await found.emulator.runState(), 'running')
      await found.emulator.end({ graceMs: 1_000 })
      await emulators.clean(vm1)
      assert.deepEqual(await next.present(), [vm2])
    },
  ],

  [
    'the memo that was given at the launch can be read later',
    async ({ launch, request, follow }) => {
      await launch(vm1)

      assert.equal(await (await follow()).memo(vm1), (await request(vm1)).memo)
      assert.equal(await (await follow()).memo(vm2), undefined)
    },
  ],

  [
    'the logs of a VM that never ran are empty, and can be removed',
    async ({ emulators }) => {
      assert.equal((await emulators.readLog(vm2, 'serial', 1_000)).length, 0)
      await emulators.removeLogs(vm2)
    },
  ],
]

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + waitMs
  while (!condition()) {
    assert.ok(performance.now() < end, 'what was waited for did not happen')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

function inOrder(a: string, b: string): number {
  return a.localeCompare(b)
}
