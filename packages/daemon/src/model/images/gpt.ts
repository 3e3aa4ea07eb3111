/**
 * Writes a GUID partition table (UEFI Specification 2.10, chapter 5) with a protective MBR, for disks with sectors of 512 bytes.
 *
 * The table is where the specification puts it: MBR, header and entries in the first 34 sectors, entries and header again in the last 33.
 *
 * Not here: what the partitions hold.
 */
import { crc32 } from 'node:zlib'

/** Bytes of a sector. */
export const sectorBytes = 512
/** Where partitions begin: at multiples of 1 MiB, which suits every medium. */
export const partitionAlignment = 2048

const entryBytes = 128
const entryCount = 128
const entrySectors = (entryBytes * entryCount) / sectorBytes
/** Sectors at the end of the disk that the copy of the table takes. */
export const backupSectors = entrySectors + 1
const headerBytes = 92

/** Partition types (Discoverable Partitions Specification; GRUB manual for the first). */
export const partitionTypes = {
  biosBoot: '21686148-6449-6e6f-744e-656564454649',
  efiSystem: 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b',
  linuxRootX86: '4f68bce3-e8cd-4db1-96e7-fbcaf984b709',
} as const

/** A partition: its number (from 1), type and own GUID, name (up to 36 characters), first and last sector. */
export interface GptPartition {
  readonly number: number
  readonly type: string
  readonly guid: string
  readonly name: string
  readonly first: number
  readonly last: number
}

/** A disk of so many sectors; `bootCode` is put in front of the protective MBR's table, at most 440 bytes of it. */
export interface GptDisk {
  readonly sectors: number
  readonly guid: string
  readonly bootCode: Uint8Array
  readonly partitions: readonly GptPartition[]
}

/** Gives the first 34 and the last 33 sectors of the disk. Throws a RangeError for partitions that overlap the table or each other. */
export function writeGpt(disk: GptDisk): { readonly start: Uint8Array; readonly end: Uint8Array } {
  checkPartitions(disk)
  const entries = Buffer.alloc(entryBytes * entryCount)
  for (const partition of disk.partitions) writeEntry(entries, partition)
  const last = disk.sectors - 1
  const primary = header(disk, { self: 1, other: last, entriesAt: 2, entries })
  const backup = header(disk, { self: last, other: 1, entriesAt: last - entrySectors, entries })
  return {
    start: Buffer.concat([protectiveMbr(disk), primary, entries]),
    end: Buffer.concat([entries, backup]),
  }
}

function checkPartitions(disk: GptDisk): void {
  let free = 2 + entrySectors
  for (const { name, first, last, number } of disk.partitions.toSorted((a, b) => a.first - b.first)) {
    if (first < free || last < first) throw new RangeError(`Partition ${name} overlaps what is before it.`)
    if (number < 1 || number > entryCount) throw new RangeError(`Partition ${name} has no possible number.`)
    free = last + 1
  }
  if (free > disk.sectors - backupSectors) throw new RangeError('The partitions do not fit on the disk.')
}

function protectiveMbr(disk: GptDisk): Buffer {
  const mbr = Buffer.alloc(sectorBytes)
  mbr.set(disk.bootCode.subarray(0, 440))
  mbr.set([0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff], 446)
  mbr.writeUInt32LE(1, 454)
  mbr.writeUInt32LE(Math.min(disk.sectors - 1, 0xffff_ffff), 458)
  mbr.set([0x55, 0xaa], 510)
  return mbr
}

interface HeaderPlace {
  readonly self: number
  readonly other: number
  readonly entriesAt: number
  readonly entries: Buffer
}

function header(disk: GptDisk, place: HeaderPlace): Buffer {
  const bytes = Buffer.alloc(sectorBytes)
  bytes.write('EFI PART')
  bytes.writeUInt32LE(0x0001_0000, 8)
  bytes.writeUInt32LE(headerBytes, 12)
  bytes.writeBigUInt64LE(BigInt(place.self), 24)
  bytes.writeBigUInt64LE(BigInt(place.other), 32)
  bytes.writeBigUInt64LE(BigInt(2 + entrySectors), 40)
  bytes.writeBigUInt64LE(BigInt(disk.sectors - backupSectors - 1), 48)
  bytes.set(guidBytes(disk.guid), 56)
  bytes.writeBigUInt64LE(BigInt(place.entriesAt), 72)
  bytes.writeUInt32LE(entryCount, 80)
  bytes.writeUInt32LE(entryBytes, 84)
  bytes.writeUInt32LE(crc32(place.entries), 88)
  bytes.writeUInt32LE(crc32(bytes.subarray(0, headerBytes)), 16)
  return bytes
}

function writeEntry(entries: Buffer, partition: GptPartition): void {
  const at = (partition.number - 1) * entryBytes
  entries.set(guidBytes(partition.type), at)
  entries.set(guidBytes(partition.guid), at + 16)
  entries.writeBigUInt64LE(BigInt(partition.first), at + 32)
  entries.writeBigUInt64LE(BigInt(partition.last), at + 40)
  entries.write(partition.name.slice(0, 36), at + 56, 'utf16le')
}

/** A GUID on disk: the first three fields are little-endian, the rest is in the order it is written. */
function guidBytes(text: string): Buffer {
  const plain = Buffer.from(text.replaceAll('-', ''), 'hex')
  if (plain.length !== 16) throw new RangeError(`${text} is no GUID.`)
  return Buffer.concat([
    Buffer.from(plain.subarray(0, 4)).reverse(),
    Buffer.from(plain.subarray(4, 6)).reverse(),
    Buffer.from(plain.subarray(6, 8)).reverse(),
    plain.subarray(8),
  ])
}
