/**
 * A volume opened by `qemu-nbd` in the jail and spoken to over its socket. Whatever the volume lies on, and whatever its header says,
 * is that process's to meet: the daemon sees bytes on a socket, with a time-out on each answer.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { KvasirError } from '@kvasir/contract'
import { isEncryptedRaw, type VolumeSource } from '../../model/storage/volume-source.ts'
import type { VolumeEnd } from '../../ports/client-files.ts'
import { type JailedServer, type JailedTools, jailedSockets } from '../../ports/jailed-tools.ts'
import type { OpenVolume, OpenWork } from '../../ports/volume-access.ts'
import { NbdClient, NbdError, NbdTimeout } from '../nbd/nbd-client.ts'
import { jailedChain, placeOf } from './jailed-chain.ts'
import { openTimeoutMs, servedSocket, serveTimeoutMs, unreachable, whenServed } from './when-served.ts'

/** A disk that is busy with others may take long; one that hangs takes for ever. */
const answerTimeoutMs = 60_000
const closeTimeoutMs = 30_000
/** Most that one request asks about or zeroes, so that each is answered in time. */
const mostAtOnceBytes = 2 ** 30
/** What is zeroed in LUKS is written, and encrypted. */
const mostEncryptedBytes = 64 * 2 ** 20
/** errno(3). */
const noSpace: ReadonlySet<number> = new Set([28, 122])

/** Opens a chain, top first. */
export async function openVolume(
  chain: readonly VolumeSource[],
  { access, fileSizeBytes, signal, jailed }: OpenWork & { readonly jailed: JailedTools },
): Promise<OpenVolume> {
  signal.throwIfAborted()
  const { request, file } = jailedChain(chain, access)
  const server = await jailed.serve({
    tool: 'qemu-nbd',
    args: [
      `--socket=${jailedSockets}/${servedSocket}`,
      '--shared=2', // Us, and who moves bytes between it and a client's file.
      '--discard=unmap',
      ...(access === 'write' ? [] : ['--read-only']),
      '--',
      file,
    ],
    ...request,
    timeoutMs: serveTimeoutMs,
    fileSizeBytes: access === 'write' ? fileSizeBytes : 0,
  })
  try {
    const socket = `${server.directory}/${servedSocket}`
    const limits = { greetMs: openTimeoutMs, timeoutMs: answerTimeoutMs }
    const nbd = await whenServed({ server, chain, signal }, () => NbdClient.connect(socket, limits))
    return opened(nbd, { server, chain })
  } catch (error) {
    await server.end()
    throw error
  }
}

function opened(
  nbd: NbdClient,
  { server, chain }: { readonly server: JailedServer; readonly chain: readonly VolumeSource[] },
): OpenVolume {
  const told = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work
    } catch (error) {
      throw failureOf(error, chain)
    }
  }
  const served = servedVolume(server, chain)
  const zeroBytes = chain[0] !== undefined && isEncryptedRaw(chain[0]) ? mostEncryptedBytes : mostAtOnceBytes
  return {
    sizeBytes: nbd.sizeBytes,
    extents: (offset, lengthBytes) => told(nbd.extents(offset, Math.min(lengthBytes, mostAtOnceBytes))),
    read: (offset, lengthBytes) => told(nbd.read(offset, lengthBytes)),
    write: (offset, bytes) => told(nbd.write(offset, bytes)),
    async zero(offset, lengthBytes) {
      for (let at = offset; at < offset + lengthBytes; at += zeroBytes)
        await told(nbd.zero(at, Math.min(zeroBytes, offset + lengthBytes - at)))
    },
    take: (file, part) => told(file.put(served, part)),
    give: (file, parts) => told(file.get(served, parts)),
    flush: () => told(nbd.flush()),
    async close() {
      nbd.close()
      // It ends by itself when its only client has gone, and leaves a volume that was closed as it should be.
      const patience = new AbortController()
      await Promise.race([
        server.ended,
        sleep(closeTimeoutMs, undefined, { signal: patience.signal }).catch(() => {}),
      ])
      patience.abort()
      await server.end()
    },
  }
}

/** A raw file is what a guest sees byte by byte, so it is copied as a file; `qemu-nbd` has it locked meanwhile. */
function servedVolume(server: JailedServer, chain: readonly VolumeSource[]): VolumeEnd {
  const [top] = chain
  const isPlain =
    chain.length === 1 &&
    top !== undefined &&
    (top.kind === undefined || top.kind === 'file') &&
    top.format === 'raw' &&
    top.encryption === undefined
  return isPlain
    ? { kind: 'file', path: top.path }
    : { kind: 'nbd', path: `${server.directory}/${servedSocket}` }
}

function failureOf(error: unknown, chain: readonly VolumeSource[]): unknown {
  if (error instanceof NbdTimeout) return unreachable(chain, error.message)
  if (error instanceof NbdError && noSpace.has(error.errno))
    return new KvasirError(
      'not-enough-space',
      `The disk of ${placeOf(chain)} is full, so it was not written on.`,
      {
        cause: error,
      },
    )
  if (error instanceof KvasirError) return error
  const why = error instanceof NbdError ? error.message : 'the connection to it ended'
  return new KvasirError('host-failed', `${placeOf(chain)} cannot be read or written on: ${why}.`, {
    cause: error,
  })
}
