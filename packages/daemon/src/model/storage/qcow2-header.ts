/**
 * The header of a qcow2 file: as much as it takes to know its capacity and what other files it makes a reader open.
 *
 * The bytes may come from an emulator that a guest has taken over: everything is bounded, nothing is followed. Layout: QEMU,
 * docs/interop/qcow2.txt.
 */
import { KvasirError } from '@kvasir/contract'

/** So many bytes of the beginning are enough: the name of the backing file lies in the first cluster, at most 1023 bytes long. */
export const qcow2HeaderBytes = 64 * 1024

export interface Qcow2Header {
  readonly capacityBytes: number
  /** The backing file as the header names it. */
  readonly backingFile: string | undefined
  /** What is on it is encrypted with LUKS. */
  readonly isEncrypted: boolean
}

const MAGIC = 0x514649fb
const MAX_BACKING_NAME = 1023

/** The first encryption that qcow2 had (1) is broken, and no QEMU writes it any more. */
const cryptMethod = { none: 0, luks: 2 } as const

/** Dirty, corrupt, external data file, compression type, extended L2. */
const incompatible = { corrupt: 1n << 1n, dataFile: 1n << 2n, known: 0b11111n }

/** So many of the first bytes say where the tables lie. */
export const tablesHeaderBytes = 72
/** An entry of the table of snapshots has these bytes at least, its extra data and names left out. */
const leastSnapshotBytes = 40n
const clusterBitsBounds = { least: 9, most: 21 }

/** Tables that a header names the places of. */
export type Qcow2Table = 'refcounts' | 'clusters' | 'snapshots'

/** What a header is called whose table lies nowhere. */
const tableWords: Readonly<Record<Qcow2Table, string>> = {
  refcounts: 'table of reference counts',
  clusters: 'table of clusters (L1)',
  snapshots: 'table of internal snapshots',
}

/**
 * Which of the first tables does not lie within a file of so many bytes, by the first bytes of that. QEMU opens such a file and reads
 * zeros there: without its clusters a guest sees an empty disk, and what it writes is lost to it or to others (seen with 7.2). The last
 * cluster of a file may be cut short, as the rest of it reads as zeros.
 */
export function tableBehindEnd(bytes: Uint8Array, fileBytes: number): Qcow2Table | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < tablesHeaderBytes || view.getUint32(0) !== MAGIC) return undefined
  const clusterBits = view.getUint32(20)
  if (clusterBits < clusterBitsBounds.least || clusterBits > clusterBitsBounds.most) return undefined // QEMU refuses it.
  const clusterBytes = 1n << BigInt(clusterBits)
  const end = ((BigInt(fileBytes) + clusterBytes - 1n) / clusterBytes) * clusterBytes
  const isBehind = (offset: bigint, lengthBytes: bigint) =>
    lengthBytes > 0n && offset % clusterBytes === 0n && offset + lengthBytes > end
  if (isBehind(view.getBigUint64(40), BigInt(view.getUint32(36)) * 8n)) return 'clusters'
  if (isBehind(view.getBigUint64(48), BigInt(view.getUint32(56)) * clusterBytes)) return 'refcounts'
  if (isBehind(view.getBigUint64(64), BigInt(view.getUint32(60)) * leastSnapshotBytes)) return 'snapshots'
  return undefined
}

/** Reads the header of the qcow2 file `path` from its first bytes, and where its size is known, whether its tables lie in it. Throws `image-refused`. */
export function parseQcow2Header(path: string, bytes: Uint8Array, fileBytes?: number): Qcow2Header {
  const refuse = (what: string) =>
    new KvasirError('image-refused', `The file ${path} ${what}, so it is not used.`, {
      details: { path, why: what },
    })
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 104 || view.getUint32(0) !== MAGIC) throw refuse('is not a qcow2 image')
  const version = view.getUint32(4)
  if (version !== 2 && version !== 3) throw refuse(`is a qcow2 image of the unknown version ${version}`)
  const method = view.getUint32(32)
  if (method !== cryptMethod.none && method !== cryptMethod.luks)
    throw refuse('is a qcow2 image with an encryption that is not known here')

  const features = version === 3 ? view.getBigUint64(72) : 0n
  if ((features & incompatible.dataFile) !== 0n)
    throw refuse('is a qcow2 image that keeps its data in another file')
  if ((features & incompatible.corrupt) !== 0n)
    throw refuse('is a qcow2 image that QEMU has marked as corrupt')
  if ((features & ~incompatible.known) !== 0n)
    throw refuse('is a qcow2 image with features that are not known here')

  const table = fileBytes === undefined ? undefined : tableBehindEnd(bytes, fileBytes)
  if (table !== undefined)
    throw refuse(
      `is a qcow2 image whose ${tableWords[table]} lies behind its end, as of a file that was cut short`,
    )

  const capacity = view.getBigUint64(24)
  if (capacity > BigInt(Number.MAX_SAFE_INTEGER)) throw refuse('has a size beyond all bounds')
  return {
    capacityBytes: Number(capacity),
    backingFile: backingFile(view, bytes, refuse),
    isEncrypted: method === cryptMethod.luks,
  }
}

function backingFile(
  view: DataView,
  bytes: Uint8Array,
  refuse: (what: string) => KvasirError,
): string | undefined {
  const offset = view.getBigUint64(8)
  const length = view.getUint32(16)
  if (offset === 0n) return undefined
  if (length > MAX_BACKING_NAME || offset + BigInt(length) > BigInt(bytes.length))
    throw refuse('is a qcow2 image whose backing file has no proper name')
  return new TextDecoder().decode(bytes.subarray(Number(offset), Number(offset) + length))
}
