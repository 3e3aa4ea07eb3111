/**
 * Volumes served by NBD, each an export of its name, by `qemu-storage-daemon` in the jail: not by the emulator, which may abort when
 * such a client goes (QEMU 7.2.22), nor on anything that listens outside of root's own folders. Who reads them has connections from us.
 */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { KvasirError } from '@kvasir/contract'
import { type JailedServer, type JailedTools, jailedSockets } from '../../ports/jailed-tools.ts'
import type { ServedVolume, VolumeServer } from '../../ports/volume-access.ts'
import { type JailedChain, jailedChain } from './jailed-chain.ts'
import { servedSocket, serveTimeoutMs, whenServed } from './when-served.ts'

/** fcntl.h: not opened, only pointed at. */
const pathOnly = 0o10000000

/** Serves volumes to be read. Resolves when they can be. */
export async function serveVolumes(
  volumes: readonly ServedVolume[],
  { signal, jailed }: { readonly signal: AbortSignal; readonly jailed: JailedTools },
): Promise<VolumeServer> {
  signal.throwIfAborted()
  const { nodes, request } = nodesOf(volumes)
  const server = await jailed.serve({
    tool: 'qemu-storage-daemon',
    args: [
      ...nodes.flatMap((node) => ['--blockdev', JSON.stringify(node)]),
      '--nbd-server',
      `addr.type=unix,addr.path=${jailedSockets}/${servedSocket}`,
      ...volumes.flatMap(({ name, bitmap }, index) => [
        '--export',
        `type=nbd,id=export${index},node-name=volume${index},name=${name},writable=off${bitmap === undefined ? '' : `,bitmaps.0=${bitmap}`}`,
      ]),
    ],
    ...request,
    timeoutMs: serveTimeoutMs,
    fileSizeBytes: 0,
  })
  try {
    const chain = volumes.flatMap((volume) => volume.chain)
    // It accepts connections when all exports are there.
    const first = await whenServed({ server, chain, signal }, async (deadline) => {
      const socket = await connectTo(server)
      await greeted(socket, deadline)
      return socket
    })
    first.destroy()
  } catch (error) {
    await server.end()
    throw error
  }
  const sockets = new Set<Socket>()
  return {
    async connect() {
      try {
        const socket = await connectTo(server)
        sockets.add(socket)
        socket.once('close', () => sockets.delete(socket))
        return socket
      } catch (cause) {
        throw new KvasirError('host-failed', 'The volumes are served no more.', { cause })
      }
    },
    ended: server.ended.then(() => {}),
    async close() {
      for (const socket of sockets) socket.destroy()
      await server.end()
    },
  }
}

/** The block nodes of volumes, and what a jail needs for all of them. It opens them read-only, and none of it is probed. */
function nodesOf(volumes: readonly ServedVolume[]): {
  readonly nodes: readonly object[]
  readonly request: JailedChain
} {
  let request: JailedChain = { inputs: [], outputs: [], devices: [], reach: [], secrets: [] }
  const nodes = volumes.map(({ chain }, index) => {
    const one = jailedChain(chain, 'read', request)
    request = one.request
    const node: object = JSON.parse(one.file.slice('json:'.length))
    return { ...node, 'node-name': `volume${index}`, 'read-only': true }
  })
  return { nodes, request }
}

/** What lies in the directory is a stranger's, so it may be a link to somewhere else, which is not followed. */
async function connectTo({ directory }: JailedServer): Promise<Socket> {
  await using place = await open(`${directory}/${servedSocket}`, pathOnly | constants.O_NOFOLLOW)
  if (!(await place.stat()).isSocket()) throw new Error('What should be a socket is something else.')
  const socket = connect({ path: `/proc/self/fd/${place.fd}` })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  socket.once('connect', resolve)
  socket.once('error', reject)
  await promise
  socket.off('error', reject)
  socket.on('error', () => {}) // `close` follows.
  return socket
}

async function greeted(socket: Socket, deadline: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  socket.once('data', () => resolve())
  socket.once('close', () => reject(new Error('It ended the connection.')))
  deadline.addEventListener('abort', () => socket.destroy(), { once: true })
  await promise
}
