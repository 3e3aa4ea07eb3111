/**
 * kvasird: the only file that constructs adapters and wires everything.
 *
 * Order: configuration, lock, store, cages, recovery, and only then the API: nobody is answered before what the last daemon left
 * has been brought in order. On SIGTERM or SIGINT the API closes, jobs end, and the emulators run on.
 */
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { KvasirError } from '@kvasir/contract'
import { readBootId } from '@kvasir/linux'
import { createApi } from './api/create-api.ts'
import { createMetrics } from './api/metrics.ts'
import { type Config, configFlags, loadConfig } from './config.ts'
import { openCages } from './host/cage/cage.ts'
import { createClock } from './host/clock.ts'
import { createHostFacts } from './host/facts/host-facts.ts'
import { createFailpoints } from './host/failpoints.ts'
import { openImageShelf } from './host/images/image-files.ts'
import { createImageMakers } from './host/images/image-makers.ts'
import { listenUnix } from './host/listen-unix.ts'
import { createLog, logFormFor } from './host/log.ts'
import { openDirectoryFiles } from './host/pools/directory-files.ts'
import { createQemuEmulators } from './host/qemu/emulators.ts'
import { lockStateDirectory } from './host/state-lock.ts'
import type { Log } from './ports/log.ts'
import type { Ports } from './ports/ports.ts'
import type { Context } from './services/context.ts'
import { createServices } from './services/create-services.ts'
import { collectSamples } from './services/host/collect-samples.ts'
import { createJobRunner } from './services/jobs/job-runner.ts'
import { recover } from './services/recovery/recover.ts'
import { autostart } from './services/vms/autostart.ts'
import { createSettle } from './services/vms/settle.ts'
import { startVm } from './services/vms/start-vm.ts'
import { openStore } from './store/open-store.ts'
import { Collector } from './supervisor/collector.ts'
import { createEventFeed } from './supervisor/event-feed.ts'
import { Supervisor } from './supervisor/supervisor.ts'
import { version } from './version.ts'

const closeGraceMs = 3_000

/** Runs the daemon until it is told to stop. */
async function main(): Promise<void> {
  const { config } = await loadConfig({
    flags: readFlags(),
    environment: process.env,
    readText: (path) => readFile(path, 'utf8').catch(() => undefined),
  })
  const log = createLog({ level: config.logLevel, form: logFormFor(process.env) })
  process.umask(0o077)
  const lock = lockStateDirectory(config.stateDir)
  const daemon = await startDaemon(config, log)
  await untilAsked(log)
  await daemon.close()
  lock.release()
}

async function startDaemon(config: Config, log: Log): Promise<{ close(): Promise<void> }> {
  const clock = createClock()
  const startedAt = clock.now()
  const store = openStore({ path: join(config.stateDir, 'kvasir.db'), now: clock.now, uidRange: config.uids })
  const ports = await openPorts(config, { store, clock, log })
  const feed = createEventFeed(store, clock)
  const jobs = createJobRunner({ store, clock, emit: feed.emit, log })

  const settle = createSettle({
    ports,
    emit: (name, data) => feed.emit('vm.guest', name, data),
    restart: (id) => restart(id, context, log),
  })
  const supervisor = new Supervisor({ store, clock, log, emit: feed.emit, settle })
  const context: Context = {
    ports,
    drivers: supervisor,
    jobs,
    emit: feed.emit,
    runtimeDir: config.runtimeDir,
  }
  const recovered = await recover(context)
  log.info({ ...recovered }, 'the store and the host agree')

  const services = createServices(context, { daemon: { version, pid: process.pid, startedAt }, feed })
  const collector = new Collector()
  const handlers = {
    ...services.handlers,
    listVms: watching(services.handlers.listVms, () => collector.noteInterest(supervisor.list())),
    getVm: watching(services.handlers.getVm, () => collector.noteInterest(supervisor.list())),
  }
  const api = await createApi({
    handlers,
    feed,
    consoles: services.consoles,
    metrics: createMetrics({
      collect: () => {
        collector.noteInterest(supervisor.list())
        return collectSamples(context)
      },
    }),
    idempotency: store.idempotency,
    log,
    now: clock.now,
    tokens: config.tokens,
  })
  const socketPath = join(config.runtimeDir, 'kvasir.sock')
  await listenUnix(api.unixServer(), { path: socketPath, group: config.socketGroup })
  for (const address of config.listen) await listenTcp(api, address)

  feed.emit('daemon.started', 'daemon', { version, pid: process.pid, adopted: recovered.adopted })
  supervisor.watch()
  log.info({ socket: socketPath, pid: process.pid }, 'kvasird serves')
  void startOnBoot(config, context)

  return {
    async close() {
      await api.close({ graceMs: closeGraceMs })
      services.consoles.close()
      await jobs.close()
      await supervisor.close()
      store.close()
    },
  }
}

async function openPorts(
  config: Config,
  made: { readonly store: Ports['store']; readonly clock: Ports['clock']; readonly log: Log },
): Promise<Ports> {
  const { clock, log } = made
  const bootId = await readBootId()
  const failpoint = createFailpoints(process.env)
  for (const directory of [config.runtimeDir, config.logDir])
    await mkdir(directory, { recursive: true, mode: 0o711 })
  const host = createHostFacts({ stateDir: config.stateDir, bootId, qemu: config.qemu })
  const accelerator = await host.chooseAccelerator('auto')
  const cages = await openCages({
    runtimeDir: config.runtimeDir,
    cgroupName: config.prefix,
    kvm: accelerator.kind === 'kvm',
  })
  for (const sentence of cages.shortcomings) log.warn({}, sentence)
  const images = await openImageShelf(join(config.stateDir, 'images'))
  return {
    ...made,
    bootId,
    failpoint,
    host,
    images,
    makers: await createImageMakers({
      stateDir: config.stateDir,
      shelf: images,
      cages,
      uids: config.uids,
      clock,
    }),
    files: await openDirectoryFiles({ stateDir: config.stateDir }),
    emulators: createQemuEmulators({
      runtimeDir: config.runtimeDir,
      logDir: config.logDir,
      cages,
      binary: async () => (await host.qemu()).binary,
      failpoint,
      now: clock.now,
    }),
  }
}

/** Starts a VM again by policy; its failure is told in its state and in the log. */
function restart(id: string, context: Context, log: Log): void {
  const driver = context.drivers.get(id)
  if (!driver) return
  startVm(driver, context.ports, { signal: new AbortController().signal, onStep: () => {} }).catch(
    (error: unknown) =>
      log.error({ vm: driver.view().record.name, err: error }, 'starting a VM again did not succeed'),
  )
}

/** Autostart happens once a boot of the host: the mark lies in the runtime directory, which a boot empties. */
async function startOnBoot(config: Config, context: Context): Promise<void> {
  const mark = join(config.runtimeDir, 'autostarted')
  const { bootId, log } = context.ports
  const last = existsSync(mark) ? await readFile(mark, 'utf8') : ''
  if (last === bootId) return
  await writeFile(mark, bootId)
  await autostart(context).catch((error: unknown) => log.error({ err: error }, 'autostart ended early'))
}

function watching<Request, Answer>(
  handler: (request: Request) => Promise<Answer>,
  note: () => void,
): (request: Request) => Promise<Answer> {
  return (request) => {
    note()
    return handler(request)
  }
}

async function listenTcp(
  api: Awaited<ReturnType<typeof createApi>>,
  address: Config['listen'][number],
): Promise<void> {
  const tls =
    address.tlsCert === undefined || address.tlsKey === undefined
      ? undefined
      : { cert: await readFile(address.tlsCert), key: await readFile(address.tlsKey) }
  const server = api.tcpServer(tls)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(address.port, address.host, () => resolve())
  })
}

function readFlags(): Record<string, string | undefined> {
  const options = Object.fromEntries(configFlags.map((flag) => [flag, { type: 'string' as const }]))
  try {
    const { values } = parseArgs({ options, strict: true })
    return Object.fromEntries(Object.entries(values).filter((entry) => typeof entry[1] === 'string'))
  } catch (error) {
    throw new KvasirError('bad-request', error instanceof Error ? error.message : String(error))
  }
}

function untilAsked(log: Log): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const)
      process.once(signal, () => {
        log.info({ signal }, 'kvasird ends; the VMs run on')
        resolve()
      })
  })
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    const isRefusal = error instanceof KvasirError
    process.stderr.write(
      `kvasird: ${isRefusal ? `${error.message} (${error.code})` : error instanceof Error ? error.stack : String(error)}\n`,
    )
    process.exit(1)
  },
)
