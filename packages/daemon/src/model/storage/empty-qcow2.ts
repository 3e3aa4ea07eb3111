/**
 * A qcow2 file that holds nothing yet: its header, one block of reference counts, and a first-level table of zeroes. So a new volume
 * takes one order to its pool instead of a program that takes 15 ms to start. Layout: QEMU, docs/interop/qcow2.txt (version 3).
 *
 * Not here: files with other clusters than the usual, with space taken at once or encrypted, which qemu-img makes (host/pools/qemu-img.ts).
 */
import type { PathSource } from './volume-source.ts'

/** The size of a cluster, in bytes, which is qemu-img's default too. */
export const usualClusterBytes = 65536

/** What a file says at an offset; everything else in it is zero. */
export interface FilePart {
  readonly offset: number
  readonly bytes: Uint8Array
}

export interface EmptyQcow2 {
  readonly fileBytes: number
  readonly parts: readonly FilePart[]
}

export interface EmptyQcow2Options {
  /** A multiple of 512. */
  readonly capacityBytes: number
  readonly base: Pick<PathSource, 'path' | 'format'> | undefined
  readonly lazyRefcounts?: boolean | undefined
}

const headerBytes = 112
const sectorBytes = 512
const longestBase = 1023
/** What one entry of the first-level table stands for: a cluster of entries of 8 bytes, a cluster each. */
const bytesPerEntry = (usualClusterBytes / 8) * usualClusterBytes
const extensions = { end: 0, backingFormat: 0xe2792aca }
/** Counts of references are numbers of 2 to the power of 4 bits. */
const refcountOrder = 4

/** The parts of an empty file. Throws RangeError for a base whose path the format cannot name. */
export function emptyQcow2({ capacityBytes, base, lazyRefcounts }: EmptyQcow2Options): EmptyQcow2 {
  const capacity = Math.ceil(capacityBytes / sectorBytes) * sectorBytes
  const entries = Math.ceil(capacity / bytesPerEntry)
  const tableClusters = Math.max(1, Math.ceil((entries * 8) / usualClusterBytes))
  const at = { counts: usualClusterBytes, block: 2 * usualClusterBytes, table: 3 * usualClusterBytes }
  const clusters = 3 + tableClusters

  const extra = base === undefined ? new Uint8Array(8) : backingExtensions(base.format)
  const name = new TextEncoder().encode(base?.path ?? '')
  if (name.length > longestBase)
    throw new RangeError(`The path of a base has ${name.length} bytes, and ${longestBase} fit.`)
  const header = new Uint8Array(headerBytes + extra.length + name.length)
  const view = new DataView(header.buffer)
  view.setUint32(0, 0x514649fb) // QFI\xfb
  view.setUint32(4, 3)
  if (base !== undefined) {
    view.setBigUint64(8, BigInt(headerBytes + extra.length))
    view.setUint32(16, name.length)
  }
  view.setUint32(20, Math.log2(usualClusterBytes))
  view.setBigUint64(24, BigInt(capacity))
  view.setUint32(36, entries)
  view.setBigUint64(40, BigInt(at.table))
  view.setBigUint64(48, BigInt(at.counts))
  view.setUint32(56, 1) // clusters of the table of counts
  view.setBigUint64(80, lazyRefcounts ? 1n : 0n) // compatible features
  view.setUint32(96, refcountOrder)
  view.setUint32(100, headerBytes)
  header.set(extra, headerBytes)
  header.set(name, headerBytes + extra.length)

  return {
    fileBytes: clusters * usualClusterBytes,
    parts: [
      { offset: 0, bytes: header },
      { offset: at.counts, bytes: bigEndian(8, [at.block]) },
      {
        offset: at.block,
        bytes: bigEndian(
          2,
          Array.from({ length: clusters }, () => 1),
        ),
      },
    ],
  }
}

function backingExtensions(format: string): Uint8Array {
  const name = new TextEncoder().encode(format)
  const padded = Math.ceil(name.length / 8) * 8
  const bytes = new Uint8Array(8 + padded + 8)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, extensions.backingFormat)
  view.setUint32(4, name.length)
  bytes.set(name, 8)
  view.setUint32(8 + padded, extensions.end)
  return bytes
}

function bigEndian(width: 2 | 8, values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * width)
  const view = new DataView(bytes.buffer)
  for (const [index, value] of values.entries())
    if (width === 2) view.setUint16(index * 2, value)
    else view.setBigUint64(index * 8, BigInt(value))
  return bytes
}
