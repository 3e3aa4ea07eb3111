/**
 * Runs qemu-img in the cage, one at a time: all runs share one uid, and a result may only be looked at when no process of that uid
 * lives.
 *
 * Not here: the cage (host/cage), what the runs are for (import-disk.ts).
 */
import { randomUUID } from 'node:crypto'
import { chmod, chown } from 'node:fs/promises'
import type { JailedToolRequest, JailedToolResult, JailedTools } from '../../ports/jailed-tools.ts'
import type { Cages } from '../cage/cage.ts'

const groupPrefix = 'image-'
const endTimeoutMs = 5_000
const binary = '/usr/bin/qemu-img'
/** What qemu-img maps for a disk of 16 TiB, threads and libraries included, fits in half of this. */
const addressSpaceBytes = 2 * 2 ** 30
const outputBytes = 1024 * 1024
/** Converting is work for the CPU as well as for the disk, so CPU time may be as long as the clock's. */
const cpuPerWallTime = 1

/** Gives the tools; `user` is a uid and gid that nothing else on the host uses. */
export function createJailedTools(options: {
  readonly cages: Pick<Cages, 'runJailed'>
  readonly user: { readonly uid: number; readonly gid: number }
}): JailedTools {
  let last: Promise<unknown> = Promise.resolve()
  return {
    run: (request, signal) => {
      const mine = last.then(() => runOne(request, { ...options, signal }))
      last = mine.catch(() => {}) // The caller hears of it; the next run starts all the same.
      return mine
    },
  }
}

/** Ends what a daemon that died has left running. Only safe while nothing is being made. */
export async function endJails(groups: Cages['groups']): Promise<void> {
  for (const group of await groups.list())
    if (group.startsWith(groupPrefix)) await groups.remove(group, { timeoutMs: endTimeoutMs })
}

async function runOne(
  request: JailedToolRequest,
  options: Parameters<typeof createJailedTools>[0] & { readonly signal: AbortSignal },
): Promise<JailedToolResult> {
  const { cages, user, signal } = options
  signal.throwIfAborted()
  const { outputDirectory } = request
  if (outputDirectory !== undefined) await chown(outputDirectory, user.uid, user.gid)
  try {
    const result = await cages.runJailed(
      {
        group: `${groupPrefix}${randomUUID()}`,
        ...user,
        binary,
        args: request.args,
        inputs: request.inputs,
        ...(outputDirectory === undefined ? {} : { outputDirectory }),
        timeoutMs: request.timeoutMs,
        cpuSeconds: Math.ceil((request.timeoutMs / 1000) * cpuPerWallTime),
        addressSpaceBytes,
        fileSizeBytes: request.fileSizeBytes,
        outputBytes,
      },
      signal,
    )
    signal.throwIfAborted()
    return {
      exitCode: result.exit.code,
      stdout: result.stdout,
      stderr: result.stderr,
      limit: limitOf(result),
    }
  } finally {
    if (outputDirectory !== undefined) {
      await chown(outputDirectory, 0, 0)
      await chmod(outputDirectory, 0o700)
    }
  }
}

function limitOf(result: Awaited<ReturnType<Cages['runJailed']>>): JailedToolResult['limit'] {
  if (result.killed === 'timeout') return 'time'
  if (result.killed === 'output') return 'output'
  if (result.exit.signal === 'SIGXFSZ') return 'file-size'
  if (result.exit.signal === 'SIGXCPU') return 'cpu'
  return undefined
}
