/**
 * kvasird: the only file that constructs adapters.
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
import { createClientFiles } from './host/client-files/client-files.ts'
import { createClock } from './host/clock.ts'
import { DeviceDesk } from './host/devices/device-desk.ts'
import { createHostFacts } from './host/facts/host-facts.ts'
import { createFailpoints } from './host/failpoints.ts'
import { openSecretFiles } from './host/files/secret-files.ts'
import { openStateFiles } from './host/files/state-files.ts'
import { openImageShelf } from './host/images/image-files.ts'
import { createImageMakers } from './host/images/image-makers.ts'
import { JailSecrets } from './host/jail/jail-secrets.ts'
import { divideUids } from './host/jail/jail-users.ts'
import { openJailedTools } from './host/jail/jailed-tools.ts'
import { listenUnix } from './host/listen-unix.ts'
import { createLog, logFormFor } from './host/log.ts'
import { HugepageDesk } from './host/memory/hugepage-desk.ts'
import { createNetworks } from './host/networks/host-networks.ts'
import { createPools } from './host/pools/open-pools.ts'
import { createVolumeAccess } from './host/pools/volume-access.ts'
import { emulatorTrees } from './host/qemu/emulator-trees.ts'
import { createQemuEmulators } from './host/qemu/emulators.ts'
import { createNicServers } from './host/qemu/network-helper.ts'
import { lockStateDirectory } from './host/state-lock.ts'
import { applyHostTuning } from './host/tuning/host-tuning.ts'
import type { Log } from './ports/log.ts'
import type { Ports } from './ports/ports.ts'
import { collectSamples, sampleHost } from './services/host/collect-samples.ts'
import { makeDefaultNetwork } from './services/networks/default-network.ts'
import { markForAutostart, startInOrder } from './services/vms/autostart.ts'
import { openStore } from './store/open-store.ts'
import { type WiredDaemon, wireDaemon } from './wire.ts'

const closeGraceMs = 3_000

interface OpenedHost {
  readonly ports: Ports
  /** Takes away from the host what only serves VMs that run, when none does. */
  readonly leave: () => Promise<void>
}

type OpenHost = (config: Config, log: Log) => Promise<OpenedHost>

/** Runs the daemon until it is told to stop. */
async function main(): Promise<void> {
  const { simulated, ...flags } = readFlags()
  const { config } = await loadConfig({
    flags,
    environment: process.env,
    readText: (path) => readFile(path, 'utf8').catch(() => undefined),
  })
  const log = createLog({ level: config.logLevel, form: logFormFor(process.env) })
  process.umask(0o077)
  // A promise that nobody waited for is a defect, but no reason to leave the VMs unwatched.
  process.on('unhandledRejection', (error) => log.error({ err: error }, 'a defect: nobody heard this error'))
  const asked = untilAsked()
  const lock = lockStateDirectory(config.stateDir)
  const daemon = await serve(config, log, simulated === undefined ? openRealHost : openSimulatedHost)
  const signal = await asked
  log.info({ signal }, 'kvasird ends; the VMs run on')
  await daemon.close()
  lock.release()
}

async function serve(config: Config, log: Log, openHost: OpenHost): Promise<{ close(): Promise<void> }> {
  const { ports, leave } = await openHost(config, log)
  const daemon = await wireDaemon(ports, {
    runtimeDir: config.runtimeDir,
    placementMoves: config.placementMoves,
  })
  const api = await createApi({
    handlers: daemon.handlers,
    feed: daemon.feed,
    consoles: daemon.consoles,
    metrics: createMetrics({
      collect: () => sample(daemon),
      host: () => sampleHost(daemon.context),
    }),
    idempotency: ports.store.idempotency,
    log,
    now: () => ports.clock.now(),
    tokens: config.tokens,
  })
  const socket = join(config.runtimeDir, 'kvasir.sock')
  await listenUnix(api.unixServer(), { path: socket, group: config.socketGroup })
  for (const address of config.listen) await listenTcp(api, address)
  daemon.supervisor.watch()
  log.info({ socket, pid: process.pid }, 'kvasird serves')
  void startOnBoot(config, daemon)
  void makeDefaultOnce(config, daemon)
  return {
    async close() {
      await api.close({ graceMs: closeGraceMs })
      const isIdle = (await ports.emulators.present()).length === 0
      await daemon.close()
      if (isIdle) await leave()
    },
  }
}

async function sample(daemon: WiredDaemon) {
  daemon.noteInterest()
  return await collectSamples(daemon.context)
}

/** The real host. */
async function openRealHost(config: Config, log: Log): Promise<OpenedHost> {
  const clock = createClock()
  const bootId = await readBootId()
  const failpoint = createFailpoints(process.env)
  const uids = divideUids(config.uids)
  const store = openStore({
    path: join(config.stateDir, 'kvasir.db'),
    now: () => clock.now(),
    uidRange: uids.vms,
  })
  for (const directory of [config.runtimeDir, config.logDir])
    await mkdir(directory, { recursive: true, mode: 0o711 })
  const tuning = await tuneHost(config, bootId, log)
  const devices = new DeviceDesk({ directory: join(config.runtimeDir, 'devices'), bootId, failpoint })
  const hugepages = new HugepageDesk({ bootId, mayReserve: config.hugepages === 'reserve' })
  const host = createHostFacts({
    hugepages,
    stateDir: config.stateDir,
    runtimeDir: config.runtimeDir,
    logDir: config.logDir,
    bootId,
    qemu: config.qemu,
    cgroupName: config.prefix,
    tuning: () => tuning.outcomes,
  })
  await host.chooseAccelerator('auto') // Found out before the first start has to wait for it.
  const cages = await openCages({
    runtimeDir: config.runtimeDir,
    cgroupName: config.prefix,
    // Whatever the probe said: on a busy host it may fail now and succeed later.
    kvm: await host.isKvmPossible(),
    trees: await emulatorTrees(config.qemu),
  })
  for (const sentence of cages.shortcomings) log.info({}, sentence)
  const secrets = await openSecretFiles(config.stateDir)
  const laid = await JailSecrets.open(config.runtimeDir, secrets)
  const jailed = await openJailedTools({ cages, users: uids.jails, ...toolPlaces(config), secrets: laid })
  const images = await openImageShelf(join(config.stateDir, 'images'))
  const qemu = async () => (await host.qemu()).binary
  const ports: Ports = {
    store,
    clock,
    log,
    bootId,
    failpoint,
    host,
    images,
    makers: await createImageMakers({ stateDir: config.stateDir, shelf: images, jailed, clock }),
    files: await openStateFiles({ stateDir: config.stateDir }),
    pools: createPools({ ...config, jailed, secrets }),
    networks: createNetworks({ ...config, lender: devices }),
    access: createVolumeAccess({ jailed }),
    clientFiles: createClientFiles(),
    secrets,
    emulators: createQemuEmulators({
      helpers: createNicServers({ passt: config.passt, qemu }),
      runtimeDir: config.runtimeDir,
      logDir: config.logDir,
      cages,
      hugepages,
      devices,
      secrets,
      binary: qemu,
      failpoint,
      now: () => clock.now(),
    }),
  }
  return { ports, leave: () => leaveHost(tuning, cages) }
}

async function leaveHost(
  tuning: { giveBack(): Promise<void> },
  cages: { remove(): Promise<void> },
): Promise<void> {
  await tuning.giveBack()
  await cages.remove()
}

async function tuneHost(config: Config, bootId: string, log: Log) {
  const tuning = await applyHostTuning({
    wanted: { ksm: config.ksm, zswap: config.zswap },
    statePath: join(config.stateDir, 'host-tuning.json'),
    bootId,
  })
  for (const { state, ...told } of tuning.outcomes)
    if (state !== 'applied')
      log.warn({ ...told, state }, 'a setting for the kernel of the host does not hold')
  return tuning
}

/** Where tools find the daemon's own files, and have their sockets. */
function toolPlaces({ stateDir, runtimeDir }: Config) {
  const nodesDirectory = join(runtimeDir, 'jail-nodes')
  return { localRoot: stateDir, socketsRoot: join(runtimeDir, 'tools'), nodesDirectory }
}

/** A machine in memory, for development without QEMU: `--simulated`. */
async function openSimulatedHost(config: Config, log: Log): Promise<OpenedHost> {
  const { SimulatedMachine } = await import('./simulated/machine.ts')
  const { createSimulatedPorts } = await import('./simulated/simulated-ports.ts')
  const clock = createClock()
  await mkdir(config.runtimeDir, { recursive: true, mode: 0o711 })
  log.warn({}, 'the host is simulated: no VM is real')
  const ports = createSimulatedPorts(new SimulatedMachine(clock), {
    store: openStore({ path: join(config.stateDir, 'simulated.db'), now: () => clock.now() }),
    log,
  })
  return { ports, leave: async () => {} }
}

/** Autostart happens once a boot of the host: the mark lies in the runtime directory, which a boot empties. */
async function startOnBoot(config: Config, daemon: WiredDaemon): Promise<void> {
  const { bootId, log } = daemon.context.ports
  try {
    const mark = join(config.runtimeDir, 'autostarted')
    const last = existsSync(mark) ? await readFile(mark, 'utf8') : ''
    if (last === bootId) return
    const wanted = await markForAutostart(daemon.context)
    await daemon.context.networks.begun
    await writeFile(mark, bootId)
    await startInOrder(wanted, daemon.context)
  } catch (error) {
    log.error({ err: error }, 'autostart ended early')
  }
}

/** The network `default` is made once in the life of a store: who deleted it does not get it again. */
async function makeDefaultOnce(config: Config, { context }: WiredDaemon): Promise<void> {
  const mark = join(config.stateDir, 'default-network')
  if (config.defaultNetwork === 'none' || existsSync(mark)) return
  try {
    await makeDefaultNetwork(context)
    await writeFile(mark, `${context.ports.clock.now()}\n`)
  } catch (error) {
    context.ports.log.warn({ err: error }, 'the network default was not made; the next start tries it again')
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
  const texts = Object.fromEntries(configFlags.map((flag) => [flag, { type: 'string' as const }]))
  try {
    const { values } = parseArgs({ options: { ...texts, simulated: { type: 'boolean' } }, strict: true })
    return Object.fromEntries(Object.entries(values).map(([flag, value]) => [flag, String(value)]))
  } catch (error) {
    throw new KvasirError('bad-request', error instanceof Error ? error.message : String(error))
  }
}

function untilAsked(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal))
  })
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    const text = error instanceof KvasirError ? `${error.message} (${error.code})` : String(error)
    const stack = error instanceof Error && !(error instanceof KvasirError) ? `\n${error.stack}` : ''
    process.stderr.write(`kvasird: ${text}${stack}\n`)
    process.exit(1)
  },
)
