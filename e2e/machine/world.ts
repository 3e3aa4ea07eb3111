/**
 * The world of one test: a daemon of its own in a place of its own, and its VMs.
 *
 *     await using world = await openWorld(t)
 *     const vm = await world.createTiny('web1')
 *     await vm.start()
 *     await vm.waitForLogin()
 *     assert.equal(await vm.shell('nproc'), '1')
 *
 * Invariant: a test ends with a clean audit, which includes the cage of every VM that runs, and with nothing left on the host once
 * its VMs are deleted. Disposing asserts both, and takes everything away whether they hold or not.
 */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { type Audit, endpoints, KvasirError, type VmSpecInput } from '@kvasir/contract'
import type { Client } from '@kvasir/sdk'
import { type CliRun, runCli } from './cli.ts'
import { type Daemon, type DaemonEnvironment, readDaemonLog, startDaemon } from './daemon.ts'
import { type EventWatch, watchEvents } from './events.ts'
import { eventually } from './eventually.ts'
import { clearPlace, leftoversOf } from './leftovers.ts'
import { isSlowMachine, patient } from './patience.ts'
import { makePlace, type Place } from './place.ts'
import { seedTinyImage } from './tiny-image.ts'
import { VmHandle } from './vm-handle.ts'

/** How long what is under way may take to settle before an audit counts. */
const settleMs = 5_000
const leftoverMs = 5_000

/** How a world begins. */
export interface WorldOptions {
  /** For the daemon's first life, and for the next ones unless they are given others. */
  readonly environment?: DaemonEnvironment
  /** The network namespace that the daemon runs in, as a path; the test's own unless told. */
  readonly network?: string
  /** What is to be done in the place before the daemon starts. */
  readonly prepare?: (place: Place) => Promise<void>
}

/** Opens a world: a place, the tiny image in it, a daemon that serves. */
export async function openWorld(test: TestContext, options: WorldOptions = {}): Promise<World> {
  const made = await makePlace()
  const place = options.network === undefined ? made : { ...made, network: options.network }
  try {
    await seedTinyImage(place)
    await options.prepare?.(place)
    const daemon = await startDaemon(place, options.environment)
    const world = new World(place, { daemon, note: (text) => test.diagnostic(text), ...options })
    test.after(() => {
      if (test.passed) return
      test.diagnostic(`The daemon's log ended:\n${world.lastWords}`)
    })
    return world
  } catch (error) {
    await clearPlace(place)
    throw error
  }
}

export class World implements AsyncDisposable {
  readonly place: Place
  readonly #environment: DaemonEnvironment
  readonly #note: (text: string) => void
  #daemon: Daemon
  #lastWords: string | undefined

  constructor(
    place: Place,
    {
      daemon,
      note,
      environment,
    }: {
      readonly daemon: Daemon
      readonly note: (text: string) => void
      readonly environment?: DaemonEnvironment
    },
  ) {
    this.place = place
    this.#daemon = daemon
    this.#note = note
    this.#environment = environment ?? {}
  }

  get daemon(): Daemon {
    return this.#daemon
  }

  get client(): Client {
    return this.#daemon.client
  }

  /** Starts the next life of the daemon, after `daemon.kill9()` or `daemon.stop()`. */
  async startDaemon(environment: DaemonEnvironment = this.#environment): Promise<Daemon> {
    assert.ok(!this.#daemon.isAlive(), 'The daemon still runs.')
    this.#daemon = await startDaemon(this.place, environment)
    return this.#daemon
  }

  /** The end of what the daemon said, in all its lives. */
  daemonLog(characters?: number): string {
    return readDaemonLog(this.place, characters)
  }

  /** What the daemon said last, also after the world is gone. */
  get lastWords(): string {
    return this.#lastWords ?? this.daemonLog()
  }

  vm(name: string): VmHandle {
    return new VmHandle(name, () => this.client)
  }

  /** Creates a VM that boots the tiny guest, which counts. */
  async createTiny(name: string, spec: VmSpecInput = {}): Promise<VmHandle> {
    await this.client.call(endpoints.createVm, { body: { name, spec: tinySpec(spec) } })
    return this.vm(name)
  }

  /**
   * Creates a tiny VM, starts it and waits for its login prompt. QEMU's emulation comes to a standstill in some boots: of several CPUs
   * (QEMU 7.2 by itself, without Kvasir: 1 of 44 boots of the tiny guest with two vCPUs), and of a CPU with SVM, as the lab has (some of a
   * hundred guests under KVM there never say a word, or wait for one of their own CPUs for ever). Such a guest is given a second boot,
   * and the test says so.
   */
  async bootTiny(name: string, spec: VmSpecInput = {}): Promise<VmHandle> {
    const vm = await this.createTiny(name, spec)
    await vm.start()
    try {
      await vm.waitForLogin()
    } catch (error) {
      const { status } = await vm.show()
      const isEmulated = status.accelerator === 'tcg' ? (status.cpu?.count ?? 1) > 1 : isSlowMachine()
      if (!isEmulated || (await vm.boots()) > 0) throw error
      this.#note(`The guest of ${name} stood still in its boot, and is booted once more: ${String(error)}`)
      await vm.powerOff()
      await vm.start()
      await vm.waitForLogin()
    }
    return vm
  }

  audit(): Promise<Audit> {
    return this.client.call(endpoints.getAudit, { timeoutMs: patient(60_000) })
  }

  /** Asserts that the store and the machine agree, and that every VM that runs is caged. */
  async assertCleanAudit(): Promise<void> {
    let last: Audit | undefined
    await eventually(
      async () => {
        last = await this.audit()
        return last.clean ? true : undefined
      },
      { withinMs: settleMs, everyMs: 250, what: 'the audit is clean' },
    ).catch((error: unknown) => {
      if (last === undefined) throw error
    })
    assert.deepEqual(last?.entries, [], 'The audit is clean.')
  }

  /** Watches events from now on, or from a number. */
  async watchEvents(after?: number): Promise<EventWatch> {
    const from = after ?? (await this.client.call(endpoints.getStatus)).lastEventSeq
    return watchEvents(this.client, from)
  }

  /** Runs the command line against this daemon. */
  cli(...argv: readonly string[]): Promise<CliRun> {
    return runCli(this.place, argv)
  }

  /** Asserts the world and takes it away. */
  async [Symbol.asyncDispose](): Promise<void> {
    const problems: unknown[] = []
    const attempt = async (step: () => Promise<void>): Promise<void> => {
      await step().catch((error: unknown) => problems.push(error))
    }
    await attempt(async () => {
      if (!this.#daemon.isAlive()) await this.startDaemon({})
      await this.assertCleanAudit()
    })
    if (this.#daemon.isAlive()) {
      await attempt(() => deleteEverything(this.client))
      await attempt(async () => {
        assert.deepEqual(await this.#daemon.stop(), { code: 0, signal: null }, 'The daemon ends when asked.')
      })
      await attempt(() => assertNothingLeft(this.place))
    }
    this.#lastWords = this.daemonLog()
    await attempt(() => clearPlace(this.place))
    if (problems.length === 1) throw problems[0]
    if (problems.length > 1)
      throw new AggregateError(problems, problems.map((problem) => String(problem)).join('\n'))
  }
}

/** The spec of a tiny guest that counts, with what a test wants otherwise. */
export function tinySpec(spec: VmSpecInput = {}): VmSpecInput {
  return {
    image: 'tiny',
    ...spec,
    memory: { size: '128MiB', ...spec.memory },
    boot: { cmdline: 'kvasir.counter', ...spec.boot },
  }
}

async function deleteEverything(client: Client): Promise<void> {
  for (const { name } of await client.call(endpoints.listVms)) {
    await eventually(() => deleteVm(client, name), { withinMs: 30_000, what: `VM ${name} is deleted` })
  }
  for (const { name } of await client.call(endpoints.listNetworks))
    await client.call(endpoints.deleteNetwork, { params: { network: name } })
  // Overlays before what they are based on, in as many rounds as that takes. Ceph takes an image of a killed client for open for 30 s.
  await eventually(async () => ((await deleteVolumes(client)) ? true : undefined), {
    withinMs: 60_000,
    what: 'all volumes are deleted',
  })
}

async function deleteVolumes(client: Client): Promise<boolean> {
  for (const { pool, name } of await client.call(endpoints.listVolumes))
    await client.call(endpoints.deleteVolume, { params: { pool, volume: name } }).catch((error: unknown) => {
      if (!(error instanceof KvasirError && ['in-use', 'volume-not-found'].includes(error.code))) throw error
    })
  return (await client.call(endpoints.listVolumes)).length === 0
}

async function deleteVm(client: Client, name: string): Promise<true> {
  const params = { name }
  const unlessOff = (error: unknown) => {
    if (!(error instanceof KvasirError && error.code === 'wrong-state')) throw error
  }
  await client.call(endpoints.powerOffVm, { params }).catch(unlessOff)
  await client.call(endpoints.deleteVm, { params, query: { disks: 'true' } })
  return true
}

async function assertNothingLeft(place: Place): Promise<void> {
  let left: readonly string[] = []
  await eventually(
    async () => {
      left = await leftoversOf(place)
      return left.length === 0 ? true : undefined
    },
    { withinMs: leftoverMs, everyMs: 100, what: 'nothing is left' },
  ).catch(() => {})
  assert.deepEqual(left, [], 'Nothing is left on the host.')
}
