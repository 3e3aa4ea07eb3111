/**
 * Adopting: finding the emulator of a VM after the daemon was away.
 *
 * An emulator is known by its cgroup, by pid together with start time and boot, and by the UUID that its monitor answers with; never by
 * pid alone. One that lives but does not answer is `unresponsive`: it may be running, and nothing is done to it.
 */
import { identifyProcess, isAlive, readExecutable } from '@kvasir/linux'
import { QmpClient } from '@kvasir/qmp'
import type { Adoption } from '../../ports/emulators.ts'
import type { Failpoints } from '../../ports/failpoints.ts'
import type { CageGroups } from '../cage/cage-groups.ts'
import { readCappedLog } from '../cage/capped-log.ts'
import { QemuEmulator } from './qemu-emulator.ts'
import { type EmulatorPaths, groupOf, readRecord, type StoredEmulator } from './runtime-directory.ts'

const logTailBytes = 4096

export interface AdoptTools {
  readonly groups: CageGroups
  readonly failpoint: Failpoints
  readonly paths: EmulatorPaths
  readonly binary: string
  readonly timeoutMs: number
}

/** Looks for the emulator of a VM on the host and connects to it. */
export async function adoptEmulator(id: string, tools: AdoptTools): Promise<Adoption> {
  const { paths } = tools
  const stored = (await readRecord(paths)) ?? (await findInGroup(id, tools))
  if (!stored || !(await isAlive(stored))) {
    const log = Buffer.from(await readCappedLog(paths.emulatorLog, logTailBytes)).toString('utf8')
    return { kind: 'gone', log }
  }
  try {
    return { kind: 'alive', emulator: await connect(id, stored, tools) }
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
    const [identity, cpus, channels] = await Promise.all([
      monitor.execute('query-uuid', undefined, limits),
      monitor.execute('query-cpus-fast', undefined, limits),
      monitor.execute('query-chardev', undefined, limits),
    ])
    if (identity.UUID !== id) throw new Error(`its monitor says that it is ${identity.UUID}`)
    const { major, minor, micro } = monitor.version
    return new QemuEmulator({
      id,
      paths: tools.paths,
      groups: tools.groups,
      failpoint: tools.failpoint,
      record: { ...stored, qemuVersion: `${major}.${minor}.${micro}` },
      monitor,
      vcpus: cpus.map((cpu) => ({ index: cpu['cpu-index'], threadId: cpu['thread-id'] })),
      agentConnected: channels.some((channel) => channel.label === 'agent' && channel['frontend-open']),
      exited: undefined,
    })
  } catch (error) {
    monitor.close()
    throw error
  }
}

/** Between its launch and its record, an emulator is only known by its cgroup. */
async function findInGroup(id: string, tools: AdoptTools): Promise<StoredEmulator | undefined> {
  const group = groupOf(id)
  for (const pid of await tools.groups.processes(group)) {
    if ((await readExecutable(pid)) !== tools.binary) continue
    const identity = await identifyProcess(pid)
    if (!identity) continue
    return {
      ...identity,
      cgroup: tools.groups.path(group),
      startedAt: new Date().toISOString(),
      qemuVersion: 'unknown',
      uid: 0,
      cage: { places: [], files: [] },
      plan: { ids: { ioThreads: [], disks: {}, nics: {}, balloon: undefined, vncSocketName: undefined } },
    }
  }
  return undefined
}
