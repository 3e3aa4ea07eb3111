/**
 * virtiofsd: what serves a folder of the host to a guest, a process for each share, in a cage of its own.
 *
 * It acts for every user of the guest, so it is root, with no capability but those that files take, and sees nothing of the host but the
 * folder and its own part of /proc, through whose links it opens files again. What is mounted below the folder it does not see. It lives in
 * the VM's cgroup, so that it ends with the VM, and ends when QEMU does. One that is killed leaves the guest without the share until
 * the VM's next start, and the VM's status says so.
 *
 * Two programs are called so: that of QEMU (up to 7.2, docs/tools/virtiofsd.rst), and the one that came after it, with words of its own.
 */
import { existsSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import type { EmulatorPlan, SharePlan } from '../../model/qemu/emulator-plan.ts'
import { nameToken } from '../../model/qemu/ids.ts'
import type { CagedProcess, Cages } from '../cage/cage.ts'
import { CageError } from '../cage/cage-error.ts'
import type { PassedDescriptor } from '../cage/launcher-script.ts'
import type { OpenShares } from './open-shares.ts'
import { type EmulatorPaths, groupOf } from './runtime-directory.ts'

const launchTimeoutMs = 15_000
const logCapBytes = 256 * 1024
/** The first descriptor that a caged program is given (host/cage/launcher-script.ts). */
const socketDescriptor = 10
const folder = '/share'
/** One is open for each file that the guest remembers; fewer where this process itself may have fewer. */
const mostOpenFiles = 262_144
/** That of QEMU, whose words are others. */
const programOfQemu = '/usr/lib/qemu/virtiofsd'
const programs = ['/usr/libexec/virtiofsd', programOfQemu] as const

/** The program of this host: Debian 13's package virtiofsd, or what Debian 12's QEMU brings. */
export function findVirtiofsd(): string | undefined {
  return programs.find((path) => existsSync(path))
}

/** Whether a program is one that serves shares. */
export function isVirtiofsd(program: string | undefined): boolean {
  return programs.some((path) => path === program)
}

export interface ShareTools {
  readonly cages: Pick<Cages, 'launch'>
  readonly paths: EmulatorPaths
  readonly shares: OpenShares
  readonly signal: AbortSignal
  /** What follows from one that is not served; `the VM does not run` where it is not said. */
  readonly otherwise?: string
}

/** Starts what serves the shares of a VM. `emulator-failed` with what it said last. */
export async function startShares(
  { id, plan }: { readonly id: string; readonly plan: Pick<EmulatorPlan, 'shares'> },
  tools: ShareTools,
): Promise<readonly CagedProcess[]> {
  const starts = (plan.shares ?? []).map(async (share) => {
    const ends = tools.shares.ends.get(share.share)
    if (ends === undefined) throw new TypeError(`Share ${share.share} has no socket.`)
    return await startShare(share, { id, socket: ends.listening, tools })
  })
  await Promise.allSettled(starts)
  return await Promise.all(starts)
}

async function startShare(
  share: SharePlan,
  start: { readonly id: string; readonly socket: PassedDescriptor; readonly tools: ShareTools },
): Promise<CagedProcess> {
  const { paths, cages, signal, otherwise = 'the VM does not run' } = start.tools
  const name = shareFolder(share.share)
  const directory = join(paths.directory, name)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  try {
    const caged = await cages.launch(
      {
        group: groupOf(start.id),
        joins: true,
        uid: 0,
        gid: 0,
        servesFiles: true,
        binary: share.program,
        args: argsOf(share.program),
        binds: [
          { source: share.folder, place: folder, writable: !share.readOnly, withoutLinks: true },
          { source: '/proc/self', place: '/proc/self' },
          { source: '/proc/sys/fs/file-max', place: '/proc/sys/fs/file-max' },
        ],
        limits: { openFiles: await openFilesLimit(), memlockBytes: undefined, processes: 4096 },
        directory,
        descriptors: [start.socket],
        logs: { output: join(paths.logDirectory, `${name}.log`), capBytes: logCapBytes },
        timeoutMs: launchTimeoutMs,
      },
      signal,
    )
    await caged.logged
    return caged
  } catch (error) {
    if (!(error instanceof CageError)) throw error
    throw new KvasirError(
      'emulator-failed',
      `The folder ${share.folder} is not served, so ${otherwise}: ${error.message}`,
      { cause: error, details: { share: share.share } },
    )
  }
}

/** What the process that serves a share has in the VM's runtime directory. */
export function shareFolder(share: string): string {
  return `share-${nameToken(share)}`
}

async function openFilesLimit(): Promise<number> {
  const limits = await readFile('/proc/self/limits', 'utf8')
  const hard = Number(/^Max open files\s+\S+\s+(\d+)/m.exec(limits)?.[1] ?? mostOpenFiles)
  return Math.min(hard, mostOpenFiles)
}

function argsOf(program: string): readonly string[] {
  const socket = `--fd=${socketDescriptor}`
  const without = '-mknod:-setfcap'
  if (program === programOfQemu)
    return [
      '-f',
      socket,
      '--rlimit-nofile=0',
      '-o',
      `source=${folder},sandbox=chroot,xattr,modcaps=${without}`,
    ]
  return [
    socket,
    '--shared-dir',
    folder,
    '--sandbox',
    'none',
    '--xattr',
    '--rlimit-nofile=0',
    `--modcaps=${without}`,
  ]
}
