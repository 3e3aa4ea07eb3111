/**
 * Block devices for jailed tools: a node of its own for one run, in a directory that only root can enter.
 *
 * The host's node stays as it is, root's. The new one is root's too, and open to the group of all jailed tools, of which the one that
 * gets it bound sees it and no other; so a tool has that one device, for reading or for writing too, and cannot say otherwise. Making
 * a node does not open the device, so a device that hangs holds nobody up here.
 */
import { chmod, chown, mkdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { runCommand } from '@kvasir/linux'

const mknodTimeoutMs = 10_000

/** For whom and where a node is made. */
export interface NodeAsked {
  /** For one run; it is made when it is missing. */
  readonly directory: string
  readonly name: string
  readonly gid: number
  readonly isWritable: boolean
}

/** Makes a node of the block device at a path, through links; answers its own path. `file-not-found` when there is none. */
export async function makeDeviceNode(path: string, asked: NodeAsked): Promise<string> {
  const device = await stat(path, { bigint: true }).catch((cause: unknown) => {
    throw notThere(path, cause)
  })
  if (!device.isBlockDevice()) throw notThere(path, undefined)
  await mkdir(asked.directory, { recursive: true, mode: 0o700 })
  const node = join(asked.directory, asked.name)
  const [major, minor] = deviceNumbers(device.rdev)
  await runCommand(['mknod', '-m', '0600', '--', node, 'b', String(major), String(minor)], {
    timeoutMs: mknodTimeoutMs,
  })
  await chown(node, 0, asked.gid)
  await chmod(node, asked.isWritable ? 0o660 : 0o440)
  return node
}

/** Removes the nodes of a run, or of all runs. */
export async function removeDeviceNodes(directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true })
}

/** Major and minor number, as the C library packs them (sys/sysmacros.h). */
function deviceNumbers(rdev: bigint): readonly [major: number, minor: number] {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn)
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)
  return [Number(major), Number(minor)]
}

function notThere(path: string, cause: unknown): KvasirError {
  return new KvasirError(
    'file-not-found',
    `${path} is no block device of this host, so no tool works on it.`,
    {
      details: { path },
      cause,
    },
  )
}
