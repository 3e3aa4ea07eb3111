/**
 * The daemon's own UNIX socket: who may connect is decided by its mode and group before anybody can.
 *
 * The socket is bound under a passing name, given its group and mode, and then renamed to its path, so there is no moment at which
 * others may connect. A socket that is left of a daemon that died is replaced; one that somebody answers on never is.
 */
import { randomBytes } from 'node:crypto'
import { lstatSync, rmSync, type Stats } from 'node:fs'
import { chmod, chown, lstat, rename, rm } from 'node:fs/promises'
import { connect, type Server } from 'node:net'
import { dirname, join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { runCommand } from '@kvasir/linux'

/** Owner and group may use the API. */
const socketMode = 0o660
const probeTimeoutMs = 1_000
const lookupTimeoutMs = 5_000

export interface UnixListenOptions {
  /** At most 90 bytes long: the kernel takes 107, and the passing name may be longer than the last part. */
  readonly path: string
  /** The group that may connect besides root; one that does not exist means root alone. */
  readonly group: string
}

/**
 * Makes a server listen on a path; `daemon-running` when somebody answers there. Returns whether the group exists, so that the caller
 * can say who may connect. The path is removed when the server closes.
 */
export async function listenUnix(
  server: Server,
  { path, group }: UnixListenOptions,
): Promise<{ readonly groupFound: boolean }> {
  await refuseIfServed(path)
  const passing = join(dirname(path), `.${randomBytes(6).toString('hex')}`)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(passing, () => {
      server.off('error', reject)
      resolve()
    })
  })
  try {
    const gid = await groupId(group)
    if (gid !== undefined) await chown(passing, 0, gid)
    await chmod(passing, gid === undefined ? 0o600 : socketMode)
    await rename(passing, path)
    const own = lstatSync(path)
    // At once: a daemon that closes its server is about to exit.
    server.once('close', () => removeIfSame(path, own))
    return { groupFound: gid !== undefined }
  } catch (error) {
    server.close()
    await rm(passing, { force: true })
    throw error
  }
}

async function refuseIfServed(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (!found) return
  if (!found.isSocket())
    throw new KvasirError(
      'host-failed',
      `${path} is not a socket, so it is not replaced and nothing listens.`,
    )
  if (await answers(path))
    throw new KvasirError('daemon-running', `Another daemon serves ${path}, so this one does not start.`)
}

/** Whether anybody listens: a socket whose listener is gone refuses at once. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path)
    const settle = (isServed: boolean) => {
      probe.destroy()
      resolve(isServed)
    }
    probe.setTimeout(probeTimeoutMs, () => settle(true))
    probe.once('connect', () => settle(true))
    probe.once('error', (error: NodeJS.ErrnoException) => settle(error.code !== 'ECONNREFUSED'))
  })
}

async function groupId(group: string): Promise<number | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const { stdout } = await runCommand(['getent', 'group', '--', group], {
    timeoutMs: lookupTimeoutMs,
    acceptExitCodes: [0, 2], // 2: there is no such group.
  })
  const gid = Number(stdout.split(':')[2] ?? Number.NaN)
  return Number.isSafeInteger(gid) ? gid : undefined
}

/** A path that a later daemon has bound anew is not ours any more. */
function removeIfSame(path: string, own: Stats): void {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found?.ino === own.ino && found.ctimeMs === own.ctimeMs) rmSync(path, { force: true })
}
