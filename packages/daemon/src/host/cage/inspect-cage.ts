/**
 * Whether a cage holds, from /proc alone: `inspectCage` reads, `cageBreaches` judges and is pure.
 *
 * Used by `kvasir audit` and by every test that runs a VM. It trusts nothing that the launcher or the emulator says, and it looks at
 * every thread, because credentials and filters are per thread. An empty answer means: nothing was found that should not be.
 */
import { readdir } from 'node:fs/promises'
import {
  type NamespaceIds,
  type ProcessMount,
  type ProcessStatus,
  readCgroupPath,
  readDescriptors,
  readEnvironment,
  readLinks,
  readMounts,
  readNamespaces,
  readProcessStatus,
  readThreads,
} from '@kvasir/linux'
import { listenerName } from './connectors.ts'
import type { CagePlace } from './root-template.ts'

export interface CageReport {
  readonly pid: number
  /** One status per thread; empty when the process has ended. */
  readonly threads: readonly { readonly name: string; readonly status: ProcessStatus }[]
  readonly namespaces: NamespaceIds
  /** The namespaces of the process that looks: the host's. */
  readonly hostNamespaces: NamespaceIds
  readonly mounts: readonly ProcessMount[]
  readonly rootEntries: readonly string[]
  readonly descriptors: ReadonlyMap<number, string>
  /** What the process that looks has open, so that a socket or pipe shared with it is seen. */
  readonly hostDescriptors: ReadonlyMap<number, string>
  readonly links: readonly string[]
  readonly cgroup: string | undefined
  readonly environment: readonly string[] | undefined
}

export interface ExpectedCage {
  readonly uid: number
  readonly gid: number
  /** The absolute path of the cgroup; threads may be in groups below it. */
  readonly cgroup: string
  /** Places with something bound, and whether it may be written. */
  readonly binds: readonly { readonly place: CagePlace; readonly writable?: boolean }[]
  /** Trees besides /usr, as the cages were opened with. */
  readonly trees?: readonly string[]
  /** Files that may be open: disks, log pipes. Devices of the template and what lies in no file system may be open anyway. */
  readonly files: readonly string[]
  /** Fewest seccomp filters on each thread: 1 for an emulator with its sandbox on, 0 for helpers. */
  readonly seccompFilters: number
}

const rootNames = new Set(
  'bin boot dev devices empty in lib lib32 lib64 libx32 memory old out proc run sbin share complete sys usr'.split(
    ' ',
  ),
)
const deviceFiles = new Set(
  ['null', 'zero', 'full', 'random', 'urandom', 'kvm', 'net/tun', 'vhost-net', 'vhost-vsock'].map(
    (name) => `/dev/${name}`,
  ),
)
const ownNamespaces = ['mnt', 'net', 'ipc', 'uts']
const MAX_MOUNTS = 12

/** Reads from /proc what a process's cage is made of. Takes root. Throws nothing when the process ends meanwhile. */
export async function inspectCage(pid: number): Promise<CageReport> {
  const [threads, namespaces, hostNamespaces, mounts, rootEntries, descriptors, hostDescriptors] =
    await Promise.all([
      readThreads(pid),
      readNamespaces(pid),
      readNamespaces('self'),
      readMounts(pid),
      readdir(`/proc/${pid}/root`).catch(() => []),
      readDescriptors(pid),
      readDescriptors(process.pid),
    ])
  const statuses = await Promise.all(
    threads.map(async ({ threadId, name }) => ({ name, status: await readProcessStatus(pid, threadId) })),
  )
  return {
    pid,
    threads: statuses.flatMap(({ name, status }) => (status === undefined ? [] : [{ name, status }])),
    namespaces,
    hostNamespaces,
    mounts,
    rootEntries,
    descriptors,
    hostDescriptors,
    links: await readLinks(pid),
    cgroup: await readCgroupPath(pid),
    environment: await readEnvironment(pid),
  }
}

/** What is wrong with a cage, one sentence each; empty when it holds. */
export function cageBreaches(report: CageReport, expected: ExpectedCage): readonly string[] {
  if (report.threads.length === 0) return [`Process ${report.pid} has ended, so its cage cannot be judged.`]
  return [
    ...report.threads.flatMap(({ name, status }) => credentialBreaches(name, status, expected)),
    ...namespaceBreaches(report),
    ...rootBreaches(report, expected),
    ...descriptorBreaches(report, expected),
    ...(report.cgroup !== undefined && isCgroupBelow(report.cgroup, expected.cgroup)
      ? []
      : [`It lives in the cgroup ${report.cgroup ?? '(none)'} and not in ${expected.cgroup}.`]),
    ...(report.environment ?? ['(unreadable)']).map(
      (entry) => `Its environment holds ${entry.split('=')[0]}.`,
    ),
  ]
}

function credentialBreaches(name: string, status: ProcessStatus, expected: ExpectedCage): readonly string[] {
  const breaches: string[] = []
  if (status.uids.length !== 4 || status.uids.some((uid) => uid !== expected.uid))
    breaches.push(`has the uids ${status.uids.join(' ')} and not ${expected.uid}`)
  if (status.gids.length !== 4 || status.gids.some((gid) => gid !== expected.gid))
    breaches.push(`has the gids ${status.gids.join(' ')} and not ${expected.gid}`)
  if (status.groups.some((group) => group !== expected.gid))
    breaches.push(`has the groups ${status.groups.join(' ')}`)
  for (const [set, value] of Object.entries(status.capabilities))
    if (value !== 0n) breaches.push(`has ${set} capabilities (${value.toString(16)})`)
  if (!status.noNewPrivileges) breaches.push('can gain privileges by exec')
  if (expected.seccompFilters > 0 && status.seccompMode !== 2) breaches.push('has no system call filter')
  else if (status.seccompFilters < expected.seccompFilters)
    breaches.push(`has ${status.seccompFilters} system call filters and not ${expected.seccompFilters}`)
  return breaches.map((breach) => `Thread ${name} ${breach}.`)
}

/** Which namespaces it shares with the host, and links of the network that it sees. */
export function namespaceBreaches(report: CageReport): readonly string[] {
  const shared = ownNamespaces.filter(
    (kind) =>
      report.namespaces[kind] === undefined || report.namespaces[kind] === report.hostNamespaces[kind],
  )
  const links = report.links.filter((link) => link !== 'lo')
  return [
    ...shared.map((kind) => `It shares the host's ${kind} namespace.`),
    ...links.map((link) => `It sees the network link ${link}.`),
  ]
}

function rootBreaches(report: CageReport, expected: ExpectedCage): readonly string[] {
  const breaches: string[] = []
  const libraries = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32']
  const readOnly = ['/', '/dev', '/usr', ...libraries, ...(expected.trees ?? [])]
  const places = new Map<string, boolean>([
    ...readOnly.map((point): [string, boolean] => [point, false]),
    ...expected.binds.map((bind): [string, boolean] => [bind.place, bind.writable ?? false]),
  ])
  for (const mount of report.mounts) {
    const writable = places.get(mount.mountPoint)
    if (writable === undefined) breaches.push(`${mount.mountPoint} is mounted in it.`)
    if (!writable && !mount.options.includes('ro')) breaches.push(`${mount.mountPoint} can be written.`)
    if (!mount.options.includes('nosuid')) breaches.push(`${mount.mountPoint} honours set-uid programs.`)
    if (!mount.mountPoint.startsWith('/dev') && !mount.options.includes('nodev'))
      breaches.push(`${mount.mountPoint} honours device nodes.`)
    if (writable && !mount.options.includes('noexec'))
      breaches.push(`${mount.mountPoint} can be written and executed from.`)
  }
  if (!report.mounts.some((mount) => mount.mountPoint === '/' && mount.fileSystem === 'tmpfs'))
    breaches.push('Its root is not the template.')
  if (report.mounts.filter((mount) => mount.mountPoint === '/').length < 2)
    breaches.push('Nothing lies over its root, so it may make user namespaces.')
  const devices = expected.binds.filter(({ place }) => place.startsWith('/dev') || place === '/sys')
  const most = MAX_MOUNTS + (expected.trees?.length ?? 0) + devices.length
  if (report.mounts.length > most) breaches.push(`It sees ${report.mounts.length} mounts, more than ${most}.`)
  const trees = (expected.trees ?? []).map((tree) => tree.split('/')[1] ?? '')
  for (const name of report.rootEntries)
    if (!rootNames.has(name) && !trees.includes(name)) breaches.push(`/${name} is in its root.`)
  return breaches
}

function descriptorBreaches(report: CageReport, expected: ExpectedCage): readonly string[] {
  const allowed = new Set([...expected.files, ...deviceFiles])
  const draws = expected.binds.some(({ place }) => place === '/dev/dri')
  /** Memory of the GPU that it draws on (drivers/dma-buf/dma-buf.c). */
  const isPicture = (target: string) => draws && target.startsWith('/dmabuf:')
  const hostTargets = new Set(report.hostDescriptors.values())
  const breaches: string[] = []
  for (const [fd, target] of report.descriptors) {
    if (target === listenerName) breaches.push(`It may let its own connects go on (${fd}).`)
    if (target.startsWith('/')) {
      const isOwn =
        target.startsWith('/memfd:') || isPicture(target) || allowed.has(target.replace(/ \(deleted\)$/, ''))
      if (!isOwn) breaches.push(`It has ${target} open (${fd}).`)
    } else if (/^(socket|pipe):/.test(target) && hostTargets.has(target)) {
      breaches.push(`It shares ${target} with the host (${fd}).`)
    }
  }
  return breaches
}

/** /proc names a cgroup from its hierarchy's root, the expectation from the file system's. */
export function isCgroupBelow(actual: string, expected: string): boolean {
  const isWhole = actual.split('/').length > 2 && expected.endsWith(actual)
  return isWhole || /^\/(vcpu\d+|io-[\w.-]+|emulator|vhost)$/.test(suffixAfter(actual, expected))
}

function suffixAfter(actual: string, expected: string): string {
  const parent = actual.slice(0, actual.lastIndexOf('/'))
  return parent !== '' && expected.endsWith(parent) ? actual.slice(parent.length) : ''
}
