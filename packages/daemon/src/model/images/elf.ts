/**
 * Reads from an ELF file what must be there for it to run: its interpreter and the libraries it names (the generic ABI,
 * chapters "Program Header" and "Dynamic Section"). 64-bit little-endian files only, which is what Kvasir's guests are.
 *
 * Not here: finding those libraries (host/images).
 */

/** What an ELF program or library asks the dynamic linker for; both are empty for a static program. */
export interface ElfNeeds {
  readonly interpreter: string | undefined
  readonly libraries: readonly string[]
}

const programHeader = { load: 1, dynamic: 2, interpreter: 3 } as const
const dynamicTag = { end: 0n, needed: 1n, stringTable: 5n } as const
const maximumEntries = 4096

interface Segment {
  readonly type: number
  readonly offset: number
  readonly address: bigint
  readonly bytes: number
}

/** Reads the needs of a 64-bit little-endian ELF file; undefined when the bytes are not such a file. */
export function readElfNeeds(bytes: Uint8Array): ElfNeeds | undefined {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (file.length < 64 || file.readUInt32BE(0) !== 0x7f454c46) return undefined
  if (file[4] !== 2 || file[5] !== 1) return undefined

  const segments = readSegments(file)
  const interpreter = segments.find((segment) => segment.type === programHeader.interpreter)
  return {
    interpreter: interpreter && readString(file, interpreter.offset),
    libraries: readLibraries(file, segments),
  }
}

function readSegments(file: Buffer): readonly Segment[] {
  const start = Number(file.readBigUInt64LE(32))
  const entryBytes = file.readUInt16LE(54)
  const count = file.readUInt16LE(56)
  if (start + count * entryBytes > file.length || (count > 0 && entryBytes < 56)) return []
  return Array.from({ length: count }, (_, index) => {
    const at = start + index * entryBytes
    return {
      type: file.readUInt32LE(at),
      offset: Number(file.readBigUInt64LE(at + 8)),
      address: file.readBigUInt64LE(at + 16),
      bytes: Number(file.readBigUInt64LE(at + 32)),
    }
  })
}

function readLibraries(file: Buffer, segments: readonly Segment[]): readonly string[] {
  const dynamic = segments.find((segment) => segment.type === programHeader.dynamic)
  if (dynamic === undefined) return []
  const names: number[] = []
  let strings: number | undefined
  for (let index = 0; index < maximumEntries; index++) {
    const at = dynamic.offset + index * 16
    if (at + 16 > file.length || index * 16 >= dynamic.bytes) break
    const tag = file.readBigUInt64LE(at)
    const value = file.readBigUInt64LE(at + 8)
    if (tag === dynamicTag.end) break
    if (tag === dynamicTag.needed) names.push(Number(value))
    if (tag === dynamicTag.stringTable) strings = fileOffset(segments, value)
  }
  if (strings === undefined) return []
  const table = strings
  return names.map((name) => readString(file, table + name)).filter((name) => name !== '')
}

function fileOffset(segments: readonly Segment[], address: bigint): number | undefined {
  const holder = segments.find(
    (segment) =>
      segment.type === programHeader.load &&
      address >= segment.address &&
      address < segment.address + BigInt(segment.bytes),
  )
  return holder && holder.offset + Number(address - holder.address)
}

function readString(file: Buffer, offset: number): string {
  const end = file.indexOf(0, offset)
  return offset >= file.length || end < 0 ? '' : file.toString('latin1', offset, end)
}
