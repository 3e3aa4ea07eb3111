/**
 * Adopting: finding the emulator of a VM after the daemon was away.
 *
 * An emulator is known by its cgroup, by pid together with start time and boot, and by the UUID that its monitor answers with; never by
 * pid alone. One that lives but does not answer is `unresponsive`: it may be running, and nothing is done to it.
 */
import { uptime } from 'node:os'
import { basename } from 'node:path'
import { identifyProcess, isAlive, readExecutable, readNamespaces } from '@kvasir/linux'
import { QmpClient } from '@kvasir/qmp'
import type { Adoption } from '../../ports/emulators.ts'
import type { Failpoints } from '../../ports/failpoints.ts'
import type { Cages } from '../cage/cage.ts'
import type { CageGroups } from '../cage/cage-groups.ts'
import { readCappedLog } from '../cage/capped-log.ts'
import type { DeviceDesk } from '../devices/device-desk.ts'
import type { SecretValues } from '../files/secret-files.ts'
import { removeSecrets } from './hand-secrets.ts'
import type { NicServers } from './network-helper.ts'
import type { PageWalks } from './page-walks.ts'
import { QemuEmulator } from './qemu-emulator.ts'
import { readThreads } from './qemu-vcpus.ts'
import {
  type EmulatorPaths,
  groupOf,
  readLaunch,
  readRecord,
  type StoredEmulator,
  type StoredLaunch,
  writeRecord,
} from './runtime-directory.ts'

const logTailBytes = 4096

export interface AdoptTools {
  readonly walks: PageWalks
  readonly secrets: SecretValues
  readonly devices: DeviceDesk
  readonly helpers: NicServers
  readonly groups: CageGroups
  readonly cages: Pick<Cages, 'launch'>
  readonly failpoint: Failpoints
  readonly paths: EmulatorPaths
  readonly binary: string
  readonly timeoutMs: number
}

/** Looks for the emulator of a VM on the host and connects to it. */
export async function adoptEmulator(id: string, tools: AdoptTools): Promise<Adoption> {
  const { paths } = tools
  const written = await readRecord(paths)
  const isWritten = written !== undefined && (await isAlive(written))
  const stored = isWritten ? written : await findInGroup(id, tools)
  if (!stored) {
    const log = Buffer.from(await readCappedLog(paths.emulatorLog, logTailBytes)).toString('utf8')
    return { kind: 'gone', log }
  }
  try {
    const emulator = await connect(id, stored, tools)
    if (!isWritten) await writeRecord(paths, emulator.record)
    return { kind: 'alive', emulator }
  } catch (error) {
    if (!(await isAlive(stored))) return { kind: 'gone', log: '' }
    const reason = error instanceof Error ? error.message : String(error)
    return { kind: 'unresponsive', pid: stored.pid, reason }
  }
}

async function connect(id: string, stored: StoredEmulator, tools: AdoptTools): Promise<QemuEmulator> {
  const monitor = await QmpClient.connect({
    path: tools.paths.socket('monitor'),
    greetingTimeoutMs: tools.timeoutMs,
  })
  try {
    const limits = { timeoutMs: tools.timeoutMs }
    const [identity, vcpus, channels] = await Promise.all([
      monitor.execute('query-uuid', undefined, limits),
      readThreads(monitor, tools.timeoutMs),
      monitor.execute('query-chardev', undefined, limits),
    ])
    if (identity.UUID !== id) throw new Error(`its monitor says that it is ${identity.UUID}`)
    await removeSecrets(tools.paths.share)
    const { major, minor, micro } = monitor.version
    return new QemuEmulator({
      id,
      paths: tools.paths,
      groups: tools.groups,
      cages: tools.cages,
      walks: tools.walks,
      secrets: tools.secrets,
      devices: tools.devices,
      helpers: tools.helpers,
      failpoint: tools.failpoint,
      record: { ...stored, qemuVersion: `${major}.${minor}.${micro}` },
      monitor,
      vcpus,
      open: channels.flatMap((channel) => (channel['frontend-open'] ? [channel.label] : [])),
      mayReach: true,
      exited: undefined,
    })
  } catch (error) {
    monitor.close()
    throw error
  }
}

/**
 * The QEMU in a VM's cgroup, whatever is written down: there is no record between launch and seal, and one may be damaged. The rest is
 * what was written before the launch; without that, a VM can be run on and ended, and little else.
 */
async function findInGroup(id: string, tools: AdoptTools): Promise<StoredEmulator | undefined> {
  const group = groupOf(id)
  for (const pid of await tools.groups.processes(group)) {
    if (!isEmulator(await readExecutable(pid), tools.binary) || (await isHelper(pid))) continue
    const identity = await identifyProcess(pid)
    if (!identity || !(await isAlive(identity))) continue
    const launch = await readLaunch(tools.paths)
    return {
      ...(launch ?? nothingKnown),
      ...identity,
      cgroup: tools.groups.path(group),
      startedAt: startOf(identity),
      qemuVersion: 'unknown',
    }
  }
  return undefined
}

const nothingKnown: StoredLaunch = {
  uid: 0,
  cage: { places: [], files: [], filesOf: {}, trees: [], ioUring: true },
  plan: { ids: { ioThreads: [], disks: {}, nics: {}, vncSocketName: undefined } },
}

/** One that serves a NIC is a QEMU too, alone with its own (slirp-helper.pl). */
async function isHelper(pid: number): Promise<boolean> {
  const [its, ours] = await Promise.all([readNamespaces(pid), readNamespaces('self')])
  return its['pid'] !== ours['pid']
}

/** Also a QEMU whose file was replaced by an upgrade, or removed, since it was started. */
function isEmulator(executable: string | undefined, binary: string): boolean {
  const path = executable?.replace(/ \(deleted\)$/, '')
  return path !== undefined && (path === binary || basename(path).startsWith('qemu-system-'))
}

/** Start times count from the host's boot, in hundredths of a second (proc_pid_stat(5), field 22). */
function startOf({ startTicks }: { readonly startTicks: number }): string {
  return new Date(Date.now() - uptime() * 1000 + startTicks * 10).toISOString()
}
