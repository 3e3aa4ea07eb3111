/**
 * An NFS export, mounted for one pool in a folder of the daemon's own. Whoever mounts and unmounts is a process that can be killed, and what is
 * mounted is read from /proc, which asks no server.
 *
 * `hard`, and not `soft`: with `soft` the kernel gives a write up after some time and tells the guest of an error, although the server
 * may carry it out later, after what the guest wrote in its place (nfs(5) warns of silent corruption). With `hard` a guest stands
 * until its server is back; everybody who waits can be killed (TASK_KILLABLE), and nobody in the daemon waits at all. One try for each
 * mount (`retry=0`): the pool is looked at again soon anyway. Programs, devices and set-UID bits of a server count for nothing here.
 */
import { mkdir, rmdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { CommandError, readMounts, runCommand } from '@kvasir/linux'
import { GroundError, type PoolGround } from './pool-ground.ts'

export interface NfsMountOptions {
  /** An address or a name. */
  readonly server: string
  readonly export: string
  /** Of this pool alone, below the state directory. */
  readonly folder: string
  readonly deadlineMs?: number
}

/** No caching of what a folder holds: what others put there is seen at the next look. */
const mountOptions = 'nosuid,nodev,noexec,hard,retry=0,acdirmin=0,acdirmax=0'
const defaultDeadlineMs = 15_000

export class NfsMount implements PoolGround {
  readonly forbidden =
    'the server makes nobody of this host’s root: its exports(5) need no_root_squash for this host, and the folder has to be root’s'
  readonly #options: NfsMountOptions
  #underWay: Promise<void> | undefined

  constructor(options: NfsMountOptions) {
    this.#options = options
  }

  /** As mount(8) wants it. */
  get source(): string {
    const { server, export: path } = this.#options
    return `${server.includes(':') ? `[${server}]` : server}:${path}`
  }

  lay(): Promise<void> {
    // Two that look at once would mount twice, one over the other.
    this.#underWay ??= this.#lay().finally(() => {
      this.#underWay = undefined
    })
    return this.#underWay
  }

  async lift(): Promise<void> {
    await this.#underWay?.catch(() => {})
    const { folder } = this.#options
    while (await this.#isMounted()) await this.#unmount()
    await rmdir(folder).catch(() => {}) // It is empty, or was never made; the next mount needs it again in any case.
  }

  async #lay(): Promise<void> {
    if (await this.#isMounted()) return // By a daemon before this one, for the same pool.
    const { folder, deadlineMs = defaultDeadlineMs } = this.#options
    await mkdir(dirname(folder), { recursive: true, mode: 0o700 })
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const argv = ['mount', '-t', 'nfs', '-o', mountOptions, '--', this.source, folder]
    try {
      await runCommand(argv, { timeoutMs: deadlineMs, endsWithUs: true })
    } catch (error) {
      throw new GroundError(mountTrouble(error, this.source), { cause: error })
    }
  }

  /** A server that is gone cannot say goodbye: its mount is taken away without it. */
  async #unmount(): Promise<void> {
    const { folder, deadlineMs = defaultDeadlineMs } = this.#options
    try {
      await runCommand(['umount', '--', folder], { timeoutMs: deadlineMs, endsWithUs: true })
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      if (/busy/i.test(error.stderr))
        throw new GroundError(`${this.source} is in use on this host and stays mounted`, { cause: error })
      await runCommand(['umount', '-l', '-f', '--', folder], {
        timeoutMs: deadlineMs,
        acceptExitCodes: [0, 32],
      })
    }
  }

  async #isMounted(): Promise<boolean> {
    const { folder } = this.#options
    return (await readMounts('self')).some(({ mountPoint }) => mountPoint === folder)
  }
}

/** Why a mount did not come about. */
function mountTrouble(error: unknown, source: string): string {
  if (!(error instanceof CommandError)) return String(error)
  const said =
    error.stderr
      .trim()
      .split('\n')
      .at(-1)
      ?.replace(/^mount(?:\.nfs4?)?: /, '') ?? ''
  if (error.failure === 'timeout') return `${source} does not answer, so it is not mounted`
  if (/No such device|unknown filesystem/i.test(said))
    return 'the kernel of this host has no NFS client (its module nfs is missing), so nothing can be mounted'
  if (/helper program|bad option/i.test(said))
    return 'this host has no mount.nfs, so nothing can be mounted; Debian has it in the package nfs-common'
  return `${source} cannot be mounted: ${said === '' ? error.message : said}`
}
