/**
 * Runs QEMU's tools in the cage. Each run has a user of its own for as long as one of its processes may live (jail-users.ts).
 *
 * Not here: the cage (host/cage), what the runs are for (images/import-disk.ts, pools/qemu-img.ts).
 */
import { randomUUID } from 'node:crypto'
import { chmod, chown, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { JailedToolRequest, JailedToolResult, JailedTools } from '../../ports/jailed-tools.ts'
import type { Cages } from '../cage/cage.ts'
import { makeDeviceNode, removeDeviceNodes } from './device-nodes.ts'
import { letRead, letWrite, takeBack } from './file-access.ts'
import type { JailSecrets } from './jail-secrets.ts'
import { type JailUser, JailUsers, type UidRange } from './jail-users.ts'

const groupPrefix = 'jail-'
const endTimeoutMs = 5_000
const binaries = '/usr/bin'
/** What qemu-img maps for a disk of 16 TiB, threads and libraries included, fits in half of this. */
const addressSpaceBytes = 2 * 2 ** 30
/** What QEMU keeps of the tables of each link of a chain (qcow2-cache.txt: 32 MiB at most), and some more. */
const addressSpacePerFile = 40 * 2 ** 20
const outputBytes = 1024 * 1024
/** Converting is work for the CPU as well as for the disk, so CPU time may be as long as the clock's. */
const cpuPerWallTime = 1

export interface JailedToolsOptions {
  readonly cages: Pick<Cages, 'runJailed' | 'groups'>
  /** Users that nothing else on the host has; the first one's gid is that of all. */
  readonly users: UidRange
  /** Where the daemon's own files lie; it touches none beside them itself. Without it, it touches all. */
  readonly localRoot?: string
  readonly secrets: JailSecrets
  /** For sockets of tools that serve; emptied when the tools are opened. Short: a socket's path has 107 bytes. */
  readonly socketsRoot: string
  /** Where nodes of block devices are made, in a directory for each run; emptied when the tools are opened. */
  readonly nodesDirectory: string
}

/** Ends what a daemon that died has left running, and gives the tools. */
export async function openJailedTools({
  cages,
  users: range,
  localRoot,
  secrets,
  socketsRoot,
  nodesDirectory,
}: JailedToolsOptions): Promise<JailedTools> {
  for (const group of await cages.groups.list())
    if (group.startsWith(groupPrefix)) await cages.groups.remove(group, { timeoutMs: endTimeoutMs })
  await clearPlaces({ socketsRoot, nodesDirectory })
  const users = new JailUsers(range)
  const run = async (
    request: JailedToolRequest,
    signal: AbortSignal,
    server?: { readonly directory: string; readonly onBegin: () => void },
  ): Promise<JailedToolResult> => {
    const user = await users.take(signal)
    server?.onBegin()
    const socketDirectory = server?.directory
    const group = `${groupPrefix}${randomUUID()}`
    let isEnded = false
    try {
      if (socketDirectory !== undefined) await chown(socketDirectory, user.uid, user.gid)
      const result = await runAs(user, request, {
        cages,
        group,
        signal,
        localRoot,
        secrets,
        socketDirectory,
        nodesDirectory,
      })
      isEnded = true
      return result
    } finally {
      // Its group could not be removed where the kernel waits for storage.
      if (isEnded || !(await cages.groups.isPopulated(group).catch(() => true))) users.giveBack(user)
    }
  }
  return {
    run: (request, signal) => run(request, signal),
    async serve(request) {
      const directory = await mkdtemp(join(socketsRoot, 's'))
      const ending = new AbortController()
      const { promise: begun, resolve: onBegin } = Promise.withResolvers<void>()
      const serve = async (): Promise<JailedToolResult | Error> => {
        try {
          return await run(request, ending.signal, { directory, onBegin })
        } catch (error) {
          return error instanceof Error ? error : new Error(String(error))
        } finally {
          onBegin()
          await rm(directory, { recursive: true, force: true })
        }
      }
      const ended = serve()
      return {
        directory,
        begun,
        ended,
        async end() {
          ending.abort(new Error('The tool is no longer needed.'))
          await ended
        },
      }
    },
  }
}

async function clearPlaces(
  places: Pick<JailedToolsOptions, 'socketsRoot' | 'nodesDirectory'>,
): Promise<void> {
  await rm(places.socketsRoot, { recursive: true, force: true })
  await mkdir(places.socketsRoot, { recursive: true, mode: 0o711 })
  await removeDeviceNodes(places.nodesDirectory)
}

async function runAs(
  user: JailUser,
  request: JailedToolRequest,
  where: {
    readonly cages: Pick<Cages, 'runJailed'>
    readonly group: string
    readonly signal: AbortSignal
    readonly localRoot: string | undefined
    readonly secrets: JailSecrets
    readonly socketDirectory: string | undefined
    readonly nodesDirectory: string
  },
): Promise<JailedToolResult> {
  const { outputDirectory, timeoutMs } = request
  const { localRoot } = where
  await using undo = new AsyncDisposableStack()
  const nodes = deviceNodes(user, request, { ...where, undo })
  const inputs: string[] = []
  for (const path of request.inputs) {
    const node = await nodes.of(path, { isWritable: false })
    if (node === undefined) await letRead({ path, localRoot }, user.gid)
    inputs.push(node ?? path)
  }
  const outputs: string[] = []
  for (const path of request.outputs ?? []) {
    const node = await nodes.of(path, { isWritable: true })
    if (node === undefined) {
      await letWrite({ path, localRoot }, user.gid)
      undo.defer(() => takeBack({ path, localRoot }))
    }
    outputs.push(node ?? path)
  }
  if (outputDirectory !== undefined) {
    await chown(outputDirectory, user.uid, user.gid)
    undo.defer(() => takeBackDirectory(outputDirectory))
  }
  const secrets = await where.secrets.lay(request, user)
  undo.defer(() => secrets.remove())
  const result = await where.cages.runJailed(
    {
      group: where.group,
      ...user,
      binary: join(binaries, request.tool),
      args: secrets.args,
      inputs: [...inputs, ...secrets.files],
      outputs,
      devices: nodes.made,
      ...(outputDirectory === undefined ? {} : { outputDirectory }),
      ...(where.socketDirectory === undefined ? {} : { socketDirectory: where.socketDirectory }),
      ...(request.reach === undefined || request.reach.length === 0
        ? {}
        : { reach: { allowed: request.reach } }),
      timeoutMs,
      cpuSeconds: Math.ceil((timeoutMs / 1000) * cpuPerWallTime),
      addressSpaceBytes: addressSpaceBytes + (inputs.length + outputs.length) * addressSpacePerFile,
      fileSizeBytes: request.fileSizeBytes,
      outputBytes,
      onStdout: request.onStdout,
    },
    where.signal,
  )
  where.signal.throwIfAborted()
  const { exit, stdout, stderr } = result
  return { exitCode: exit.code, stdout, stderr, limit: limitOf(result) }
}

/** The nodes of a run, made as they are asked for. */
function deviceNodes(
  user: JailUser,
  { devices = [] }: JailedToolRequest,
  where: {
    readonly group: string
    readonly nodesDirectory: string
    readonly undo: AsyncDisposableStack
  },
) {
  const made = new Set<string>()
  return {
    made,
    /** The node of a device; undefined for a path that is none. */
    async of(path: string, { isWritable }: { readonly isWritable: boolean }): Promise<string | undefined> {
      if (!devices.includes(path)) return undefined
      const directory = join(where.nodesDirectory, where.group)
      if (made.size === 0) where.undo.defer(() => removeDeviceNodes(directory))
      const name = String(made.size)
      const node = await makeDeviceNode(path, { directory, name, gid: user.gid, isWritable })
      made.add(node)
      return node
    },
  }
}

async function takeBackDirectory(path: string): Promise<void> {
  await chown(path, 0, 0)
  await chmod(path, 0o700)
}

function limitOf(result: Awaited<ReturnType<Cages['runJailed']>>): JailedToolResult['limit'] {
  if (result.killed === 'timeout') return 'time'
  if (result.killed === 'output') return 'output'
  // Threads of QEMU block the signal, and find the error in its place (setrlimit(2)).
  const isTooLarge = result.exit.code !== 0 && result.stderr.includes('File too large')
  if (result.exit.signal === 'SIGXFSZ' || isTooLarge) return 'file-size'
  if (result.exit.signal === 'SIGXCPU') return 'cpu'
  return undefined
}
