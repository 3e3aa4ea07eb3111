/**
 * The process of the lab's emulator: the QEMU of the image, run by the dynamic linker that lies beside it, so that the machine around it
 * needs no QEMU of that age.
 *
 * Invariant: one emulator for a place. Which process it is stands in the place's identity file; a pid alone says nothing.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { close, openSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { setPriority } from 'node:os'
import { promisify } from 'node:util'
import { identifyProcess, isAlive, type ProcessIdentity, waitUntilGone } from '@kvasir/linux'
import { QmpClient } from '@kvasir/qmp'
import type { LabImage } from '../image/build-image.ts'
import { emulatorArguments, nvmeDisk, type Threads } from './command-line.ts'
import type { Place } from './places.ts'

const closeFile = promisify(close)

const stopTimeoutMs = 10_000
const unplugTimeoutMs = 60_000
const snapshotTimeoutMs = 300_000
const shownLogCharacters = 2_000
/** The lab is emulated on every CPU there is; whoever sits at the machine goes first. */
const niceness = 10

/** How an emulator is started. */
export interface EmulatorOptions {
  readonly snapshot: string | undefined
  readonly threads: Threads
  /** Whether it runs on when this process ends; else the kernel ends it then. */
  readonly outlivesUs: boolean
}

/** Starts the emulator; resolves once it is a process, long before the lab answers. `ended` tells how it ends. */
export async function startEmulator(
  image: LabImage,
  { place, ...options }: EmulatorOptions & { readonly place: Place },
): Promise<{ readonly ended: Promise<string> }> {
  await rm(place.run, { recursive: true, force: true })
  await mkdir(place.run, { mode: 0o700 })
  await mkdir(place.compiled, { recursive: true, mode: 0o700 })
  await mkdir(place.guests, { recursive: true, mode: 0o700 })

  const libraries = `${image.emulator}/usr/lib/x86_64-linux-gnu`
  const argv = [
    ...(options.outlivesUs ? [] : ['setpriv', '--pdeathsig', 'KILL', '--']),
    `${image.emulator}/usr/lib64/ld-linux-x86-64.so.2`,
    '--library-path',
    `${libraries}:${libraries}/systemd:${libraries}/pulseaudio`,
    `${image.emulator}/usr/bin/qemu-system-x86_64`,
    ...emulatorArguments(image, { place, ...options }),
  ]
  const log = openSync(place.emulatorLog, 'a', 0o600)
  const [program = '', ...args] = argv
  const child = spawn(program, args, {
    stdio: ['ignore', log, log],
    detached: options.outlivesUs,
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', QEMU_MODULE_DIR: `${libraries}/qemu` },
  })
  await closeFile(log)
  if (options.outlivesUs) child.unref()
  if (child.pid === undefined) throw new Error('The emulator of the lab does not start.')
  setPriority(child.pid, niceness)
  const identity = await identifyProcess(child.pid)
  await writeFile(place.identity, JSON.stringify(identity))
  const ended = once(child, 'exit').then(([code, signal]) =>
    signal === null ? `with exit code ${code}` : `by ${signal}`,
  )
  return { ended }
}

/** The emulator that runs in a place, or nothing. */
export async function findEmulator(place: Place): Promise<ProcessIdentity | undefined> {
  const text = await readFile(place.identity, 'utf8').catch(() => undefined)
  if (text === undefined || text === '') return undefined
  const identity = JSON.parse(text) as ProcessIdentity // Our own file.
  return (await isAlive(identity)) ? identity : undefined
}

/** Ends the emulator of a place, and takes its sockets and logs away. What the lab held in memory is lost. */
export async function stopEmulator(place: Place): Promise<void> {
  const identity = await findEmulator(place)
  if (identity !== undefined) {
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      process.kill(identity.pid, signal)
      if (await waitUntilGone(identity, { timeoutMs: stopTimeoutMs })) break
    }
  }
  await rm(place.run, { recursive: true, force: true })
}

/** Saves memory and disks under a name, in the place of what had that name. The lab stands still meanwhile. */
export async function saveSnapshot(place: Place, name: string): Promise<void> {
  await monitorCommand(place, `savevm ${name}`)
}

/** Takes a snapshot away. */
export async function deleteSnapshot(place: Place, name: string): Promise<void> {
  await monitorCommand(place, `delvm ${name}`)
}

/** Plugs the NVMe disk in, of which no snapshot can be taken. */
export async function plugNvme(place: Place): Promise<void> {
  using monitor = await QmpClient.connect({ path: place.monitor })
  await monitor.executeUntyped('device_add', nvmeDisk)
}

/** Takes the NVMe disk out, as the lab lets go of it; resolves once it is gone. */
export async function unplugNvme(place: Place): Promise<void> {
  using monitor = await QmpClient.connect({ path: place.monitor })
  const gone = Promise.withResolvers<void>()
  monitor.on('DEVICE_DELETED', ({ data }) => {
    if (data.device === nvmeDisk.id) gone.resolve()
  })
  const timer = setTimeout(
    () => gone.reject(new Error('The lab does not let go of its NVMe disk, so there is no snapshot.')),
    unplugTimeoutMs,
  )
  await monitor.execute('device_del', { id: nvmeDisk.id })
  await gone.promise
  clearTimeout(timer)
}

/** Where each of the lab's CPUs is, for a lab that says nothing: addresses in its kernel, which is not relocated, and whether it halts. */
export async function instructionPointers(place: Place): Promise<string> {
  try {
    const said = await askMonitor(place, 'info registers -a')
    const found = [...said.matchAll(/\b[RE]IP=([0-9a-f]+).*?\bHLT=([01])/gs)]
    return found.map(([, address, halts]) => (halts === '1' ? `${address} (halted)` : address)).join(', ')
  } catch (error) {
    return `unknown, since the emulator does not answer: ${error instanceof Error ? error.message : String(error)}`
  }
}

/** QEMU's own words for these have no form in QMP that is one command; they answer nothing when all went well. */
async function monitorCommand(place: Place, command: string): Promise<void> {
  const said = await askMonitor(place, command)
  if (said.trim() !== '') throw new Error(`QEMU says to ${command}: ${said.trim()}`)
}

async function askMonitor(place: Place, command: string): Promise<string> {
  using monitor = await QmpClient.connect({ path: place.monitor })
  return await monitor.execute(
    'human-monitor-command',
    { 'command-line': command },
    { timeoutMs: snapshotTimeoutMs },
  )
}

/** The end of what the emulator and the lab's console said. */
export async function lastWords(place: Place): Promise<string> {
  const ends = [place.emulatorLog, place.console].map(async (path) =>
    (await readFile(path, 'utf8').catch(() => '')).slice(-shownLogCharacters).trim(),
  )
  return (await Promise.all(ends)).filter((end) => end !== '').join('\n')
}
