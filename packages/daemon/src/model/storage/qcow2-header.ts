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

/** Reads the header of the qcow2 file `path` from its first bytes. Throws `image-refused`. */
export function parseQcow2Header(path: string, bytes: Uint8Array): Qcow2Header {
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
