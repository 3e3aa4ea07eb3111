/**
 * From ports to a daemon that is ready to serve: the event feed, the drivers, recovery, the use-cases. The same wiring on real ports
 * (main.ts) and on simulated ones (tests, `npm run dev`).
 */

import type { Ports } from './ports/ports.ts'
import { removeNotes } from './services/checkpoints/put-away.ts'
import type { Context, PlacementMoves } from './services/context.ts'
import { createServices, type Services } from './services/create-services.ts'
import type { Handlers } from './services/handlers.ts'
import { createJobRunner } from './services/jobs/job-runner.ts'
import { settleMovesTo } from './services/moves/move-handlers.ts'
import { NetworkDesk } from './services/networks/network-desk.ts'
import { guestsOf, wiresOn } from './services/networks/nic-networks.ts'
import { prepareNetworks, settleNetworks } from './services/networks/settle-networks.ts'
import { yieldCpus } from './services/placement/yield-cpus.ts'
import { PoolDesk } from './services/pools/pool-desk.ts'
import { finishVolumesOf, preparePools, settlePools } from './services/pools/settle-pools.ts'
import { recover } from './services/recovery/recover.ts'
import { settleSecrets } from './services/secrets/settle-secrets.ts'
import { settleSnapshotsIn } from './services/snapshots/settle-snapshots.ts'
import { resumeDeletions } from './services/snapshots/snapshot-handlers.ts'
import { startInOrder } from './services/vms/autostart.ts'
import { poolTrouble } from './services/vms/pool-trouble.ts'
import { resumeGuestWork } from './services/vms/resume-guest-work.ts'
import { createSettle } from './services/vms/settle.ts'
import { restartVm } from './services/vms/start-vm.ts'
import { resumeFlattening } from './services/volumes/flatten-volume.ts'
import { settleWork, unsettledWork } from './services/volumes/settle-work.ts'
import { settleTaken } from './services/volumes/taken-files.ts'
import { Collector } from './supervisor/collector.ts'
import { createEventFeed, type StoredFeed } from './supervisor/event-feed.ts'
import { Supervisor } from './supervisor/supervisor.ts'
import { version } from './version.ts'

export interface WiredDaemon extends Services {
  readonly context: Context
  readonly feed: StoredFeed
  readonly supervisor: Supervisor
  /** Asks for fresh samples of all running VMs, for whoever looks next. */
  noteInterest(): void
  /** Ends consoles and jobs, lets go of the VMs, closes the store. The emulators run on. */
  close(): Promise<void>
}

/** Brings store and host together, then gives the use-cases over them. */
export async function wireDaemon(
  ports: Ports,
  options: { readonly runtimeDir: string; readonly placementMoves?: PlacementMoves },
): Promise<WiredDaemon> {
  const { store, clock, log } = ports
  const startedAt = clock.now()
  const startedMs = clock.monotonicMs()
  const feed = createEventFeed(store, clock)
  const jobs = createJobRunner({ store, clock, emit: feed.emit, log })
  const settle = createSettle({
    ports,
    emit: feed.emit,
    restart: (id) => restart(id, context),
    resumeGuestWork: (id) => resumeGuestWork(id, context),
    poolTrouble: (record) => poolTrouble(record, context),
    isAwaited: (id) => jobs.isUnderWay(['vm.shutdown', 'vm.reboot'], id),
  })
  store.volumes.onNotesLost((id) => void removeNotes([id], ports))
  const supervisor = new Supervisor({ store, clock, log, emit: feed.emit, settle })
  const pools = poolDesk(ports, feed, () => context)
  const networks = networkDesk(ports, feed, supervisor)
  const context: Context = {
    ports,
    pools,
    networks,
    drivers: supervisor,
    jobs,
    emit: feed.emit,
    goneImages: new Set(),
    heldFiles: new Set(),
    runtimeDir: options.runtimeDir,
    placementMoves: options.placementMoves ?? 'none',
  }
  preparePools(context)
  prepareNetworks(ports)
  await settleSecrets(context)
  const { restarts, ...recovered } = await recover(context)
  log.info(
    { ...recovered, tookMs: Math.round(clock.monotonicMs() - startedMs) },
    'the store and the host agree',
  )
  feed.emit('daemon.started', 'daemon', { version, pid: process.pid, adopted: recovered.adopted })

  goOn(context, restarts)

  const services = createServices(context, { daemon: { version, pid: process.pid, startedAt }, feed })
  const collector = new Collector()
  const noteInterest = () => collector.noteInterest(supervisor.list())
  const noteCloseInterest = (name: string) => {
    const driver = supervisor.list().find((candidate) => candidate.view().record.name === name)
    if (driver) collector.noteCloseInterest(driver)
  }
  return {
    context,
    feed,
    supervisor,
    noteInterest,
    consoles: services.consoles,
    handlers: watched(services.handlers, { all: noteInterest, one: noteCloseInterest }),
    async close() {
      services.consoles.close()
      await jobs.close()
      pools.close()
      await networks.close()
      await supervisor.close()
      feed.close()
      store.close()
    },
  }
}

/** The networks, which are told of the VMs on them. */
function networkDesk(ports: Ports, { emit }: StoredFeed, drivers: Supervisor): NetworkDesk {
  return new NetworkDesk({
    ports,
    emit,
    guestsOf: (network) => guestsOf(network, drivers),
    wiresOn: (network) => wiresOn(network, drivers),
  })
}

/** The pools, of which one that answers is brought in order with what the store says. */
function poolDesk(ports: Ports, { emit }: StoredFeed, context: () => Context): PoolDesk {
  const unsettled = unsettledWork({ ports })
  return new PoolDesk({
    ports,
    emit,
    onAnswer: async (pool) => {
      await settleSnapshotsIn(pool, context())
      await settleMovesTo(pool, context())
      await settleTaken(pool, context())
      await settleWork(pool, unsettled, context())
      await finishVolumesOf(pool, context())
    },
  })
}

/** What a former daemon left to do, and does not hold up this one. */
function goOn(context: Context, restarts: readonly string[]): void {
  const { drivers, pools } = context
  setImmediate(() => void pools.begin(() => settlePools(context)))
  context.networks.begin(() => settleNetworks(context))
  const toStart = restarts.flatMap((id) => drivers.get(id) ?? [])
  void context.networks.begun.then(() => startInOrder(toStart, context))
  // A dedicated VM may have ended while nobody watched.
  if (drivers.list().some((driver) => driver.view().record.spec.cpu.placement === 'dedicated'))
    setImmediate(() => void yieldCpus(context))
  setImmediate(() => {
    for (const { id } of drivers.list()) resumeGuestWork(id, context)
  })
  if (context.ports.store.volumes.list().some(({ work }) => work === 'flattened'))
    setImmediate(() => resumeFlattening(context))
  if (context.ports.store.snapshots.list().some(({ phase }) => phase === 'deleting'))
    setImmediate(() => resumeDeletions(context))
}

/** Who reads a VM gets the last sample at once, and causes the next. */
function watched(
  handlers: Handlers,
  noteInterest: { readonly all: () => void; readonly one: (name: string) => void },
): Handlers {
  return {
    ...handlers,
    listVms(request) {
      noteInterest.all()
      return handlers.listVms(request)
    },
    getVm(request) {
      noteInterest.one(request.params.name)
      return handlers.getVm(request)
    },
  }
}

/** Starts a VM again by policy; its failure is told in its state and in the log. */
function restart(id: string, context: Context): void {
  const driver = context.drivers.get(id)
  if (!driver) return
  restartVm(driver, context).catch((error: unknown) =>
    context.ports.log.error({ vm: driver.view().record.name, err: error }, 'a VM did not start again'),
  )
}
