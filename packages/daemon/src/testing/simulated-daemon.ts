/** For tests: a whole daemon on a simulated machine, and the daemon that follows it on the same machine and store file. */
import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type EndpointId, type Job, type Vm, type VmSpecInput, vmSpec } from '@kvasir/contract'
import { createClock } from '../host/clock.ts'
import type { Failpoints } from '../ports/failpoints.ts'
import type { Ports } from '../ports/ports.ts'
import type { PlacementMoves } from '../services/context.ts'
import type { HandlerRequest, Handlers } from '../services/handlers.ts'
import { SimulatedMachine } from '../simulated/machine.ts'
import { createSimulatedPorts } from '../simulated/simulated-ports.ts'
import { openStore } from '../store/open-store.ts'
import { sampleRoomBytes } from '../store/testing/records.ts'
import { type WiredDaemon, wireDaemon } from '../wire.ts'

type Request<Id extends EndpointId> = Partial<Omit<HandlerRequest<Id>, 'caller' | 'signal' | 'keep'>>

export interface SimulatedDaemon extends AsyncDisposable {
  readonly machine: SimulatedMachine
  readonly daemon: WiredDaemon
  readonly ports: Ports
  readonly storePath: string
  /** Calls a handler as the API would, with what was parsed. */
  call<Id extends EndpointId>(id: Id, request: Request<Id>): ReturnType<Handlers[Id]>
  createVm(name: string, spec?: VmSpecInput): Promise<Vm>
  start(name: string): Promise<Job>
  vm(name: string): Promise<Vm>
  /** The simulated emulator process of a VM. */
  process(name: string): NonNullable<ReturnType<SimulatedMachine['processes']['get']>>
  /** Lets time pass at once for what looks at the clock; what sleeps already is not woken. */
  skip(ms: number): void
  /** The daemon that comes after this one was killed: same machine, same store. */
  killAndFollow(options?: SimulationOptions): Promise<SimulatedDaemon>
}

interface SimulationOptions {
  readonly failpoint?: Failpoints
  readonly placementMoves?: PlacementMoves
}

/** Opens a daemon on a new simulated machine; what sleeps there sleeps so many times shorter than it means to. */
export async function openSimulatedDaemon(
  options: SimulationOptions & { readonly hurry?: number } = {},
): Promise<SimulatedDaemon> {
  const { hurry = 1, ...settings } = options
  const clock = createMovableClock(hurry)
  const machine = new SimulatedMachine(clock)
  const storePath = join(tmpdir(), `kvasir-${randomUUID()}.db`)
  return await openOn({ machine, storePath, skip: (ms) => clock.skip(ms) }, settings)
}

/** The real clock, and a way to put it forward. */
function createMovableClock(hurry: number) {
  const real = createClock()
  let aheadMs = 0
  return {
    ...real,
    now: () => new Date(Date.parse(real.now()) + aheadMs).toISOString(),
    monotonicMs: () => real.monotonicMs() + aheadMs,
    sleep: (ms: number, signal?: AbortSignal) => real.sleep(ms / hurry, signal),
    skip(ms: number) {
      aheadMs += ms
    },
  }
}

async function openOn(
  world: Pick<SimulatedDaemon, 'machine' | 'storePath' | 'skip'>,
  options: SimulationOptions,
): Promise<SimulatedDaemon> {
  const { machine, storePath } = world
  const { failpoint, ...settings } = options
  const failing = failpoint === undefined ? {} : { failpoint }
  const store = openStore({ path: storePath, now: () => machine.clock.now(), roomBytes: sampleRoomBytes })
  const ports = createSimulatedPorts(machine, { store, ...failing })
  const daemon = await wireDaemon(ports, { runtimeDir: '/run/simulated', ...settings })
  let isKilled = false
  const connection = new AbortController() // Of whoever calls: it breaks when the daemon is killed.
  const call: SimulatedDaemon['call'] = (id, request) => {
    const handler = daemon.handlers[id] as (given: unknown) => ReturnType<Handlers[typeof id]> // One id, one handler.
    return handler({
      params: {},
      query: {},
      body: undefined,
      ifMatch: undefined,
      connection: undefined,
      ...request,
      caller: { name: 'test' },
      signal: connection.signal,
      keep: () => undefined,
    })
  }
  return {
    ...world,
    daemon,
    ports,
    call,
    createVm: (name, spec = {}) =>
      call('createVm', { body: { name, spec: vmSpec.parse(spec), start: false } }),
    // In seconds of a clock that may hurry, while the start takes its time.
    start: (name) => call('startVm', { params: { name }, query: { wait: 1000 } }),
    vm: (name) => call('getVm', { params: { name } }),
    process(name) {
      const process = machine.processes.get(daemon.supervisor.find(name).id)
      if (!process) throw new Error(`VM ${name} has no process.`)
      return process
    },
    async killAndFollow(next = {}) {
      isKilled = true
      daemon.feed.close()
      store.close()
      connection.abort(new Error('The daemon was killed.'))
      return await openOn(world, next)
    },
    async [Symbol.asyncDispose]() {
      if (isKilled) return
      await daemon.close()
      for (const ending of ['', '-wal', '-shm', '.reserve']) rmSync(storePath + ending, { force: true })
    },
  }
}

/** Waits until a condition holds, for at most two seconds. */
export async function eventually(condition: () => Promise<boolean> | boolean, what: string): Promise<void> {
  const deadline = performance.now() + 10_000
  while (performance.now() < deadline) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  throw new Error(`Waited in vain: ${what}`)
}
