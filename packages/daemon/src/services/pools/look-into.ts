/** The beginnings of what others put into a pool, by which a refresh says what each is. */
import { KvasirError, packedImageBytes, packedImageOf } from '@kvasir/contract'
import { qcow2HeaderBytes } from '../../model/storage/qcow2-header.ts'
import type { Ports } from '../../ports/ports.ts'
import type { PoolRecord } from '../../ports/store.ts'

/** Each of those takes a process in the jail. */
const mostInJail = 16
const jailMs = 15_000
/** What is no file here, so that only QEMU's tools or a device show what is in it. */
const inJail: ReadonlySet<string> = new Set(['rbd', 'lvm', 'lvm-thin', 'iscsi'])

/** The first bytes of each, as many as it takes to say what it is; one that cannot be read is left out. */
export async function lookInto(
  pool: PoolRecord,
  files: readonly string[],
  ports: Ports,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const backend = ports.pools.of(pool)
  if (backend.peekMany) return await backend.peekMany(files, packedImageBytes)
  const peek = peekerOf(pool, ports)
  const beginnings = new Map<string, Uint8Array>()
  if (peek === undefined) return beginnings
  for (const file of files.slice(0, peek.most)) {
    try {
      const bytes = await peek.read(file, packedImageBytes)
      const isQcow2 = packedImageOf(bytes)?.what === 'a qcow2 image'
      beginnings.set(file, isQcow2 ? await peek.read(file, qcow2HeaderBytes) : bytes)
    } catch (error) {
      if (peek.isOver()) break
      if (!(error instanceof KvasirError) || !isPassedOver(error, peek.isJailed)) throw error
    }
  }
  return beginnings
}

interface Peeker {
  readonly most: number
  readonly isJailed: boolean
  /** It took too long already. */
  isOver(): boolean
  read(file: string, lengthBytes: number): Promise<Uint8Array>
}

/** By the pool's own hands where it has any; what is no file is opened in the jail, and nobody is kept from it. */
function peekerOf(pool: PoolRecord, ports: Ports): Peeker | undefined {
  const backend = ports.pools.of(pool)
  const { type } = pool.source
  if (backend.peek) {
    const read = async (file: string, lengthBytes: number) =>
      (await backend.peek?.(file, lengthBytes)) ?? new Uint8Array()
    return { most: Number.POSITIVE_INFINITY, isJailed: false, isOver: () => false, read }
  }
  if (!inJail.has(type)) return undefined
  const signal = AbortSignal.timeout(jailMs)
  const read = async (file: string, lengthBytes: number) => {
    const source = backend.source({ id: ports.clock.uuid(), format: 'raw', file })
    const open = await ports.access.open([source], { access: 'look', fileSizeBytes: 0, signal })
    try {
      return await inTime(open.read(0, Math.min(lengthBytes, open.sizeBytes)), signal)
    } finally {
      await open.close()
    }
  }
  return { most: mostInJail, isJailed: true, isOver: () => signal.aborted, read }
}

/** A logical volume that is not open has no device, and the jail may be busy. */
function isPassedOver({ code }: KvasirError, isJailed: boolean): boolean {
  return code === 'file-not-found' || (isJailed && code !== 'pool-unreachable')
}

/** A storage that hangs is not waited for; whoever reads closes what was opened. */
async function inTime<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  work.catch(() => {}) // It may fail when nobody waits for it any more.
  const { promise, reject } = Promise.withResolvers<never>()
  const end = () => reject(signal.reason)
  signal.addEventListener('abort', end, { once: true })
  try {
    signal.throwIfAborted()
    return await Promise.race([work, promise])
  } finally {
    signal.removeEventListener('abort', end)
  }
}
