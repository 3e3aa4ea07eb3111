/**
 * What a file that is offered as a disk image says of itself in its first bytes, and whether that is acceptable.
 *
 * An image that refers to any other file (a backing file, a data file, an extent, a parent) is refused, because whoever reads it would
 * read that file for whoever made it. So is one that is encrypted, marked corrupt, or larger than any disk. The facts are of QEMU's
 * docs/interop/qcow2.rst, VMware's "Virtual Disk Format 5.0", Microsoft's "VHDX Format Specification", and VirtualBox's VDICore.h.
 *
 * Passing here is the first wall; the second is that only a jailed tool parses the rest.
 */
import { type ImportFormat, packedImageOf } from '@kvasir/contract'

/** The most bytes from the beginning of a file that are looked at. */
export const headerBytes = 128 * 1024

/** The largest disk that is believed. */
export const maximumVirtualBytes = 16 * 2 ** 40

/** What a header says: a format with its virtual size where the header holds it, something known that is no disk image, or nothing. */
export type HeaderFinding =
  | { readonly kind: 'image'; readonly format: ImportFormat; readonly virtualSizeBytes: number | undefined }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'unknown' }

/** Looks at the first `headerBytes` (or fewer, when the file is shorter) of a file. Never throws. */
export function inspectHeader(header: Uint8Array): HeaderFinding {
  const bytes = Buffer.from(header.buffer, header.byteOffset, Math.min(header.byteLength, headerBytes))
  for (const { offset, magic, what } of foreignMagics) {
    if (startsWith(bytes, magic, offset)) return refused(`it is ${what}, not a disk image`)
  }
  try {
    if (startsWith(bytes, 'QFI\xfb')) return inspectQcow2(bytes)
    if (startsWith(bytes, 'KDMV')) return inspectVmdk(bytes)
    if (startsWith(bytes, 'vhdxfile')) return { kind: 'image', format: 'vhdx', virtualSizeBytes: undefined }
    if (bytes.length >= 68 && bytes.readUInt32LE(64) === 0xbeda107f) return inspectVdi(bytes)
  } catch (error) {
    if (error instanceof RangeError) return refused('it ends within its header')
    throw error
  }
  return { kind: 'unknown' }
}

const foreignMagics: readonly {
  readonly offset: number
  readonly magic: string
  readonly what: string
}[] = [
  { offset: 0, magic: '# Disk Descri', what: 'a VMDK descriptor, which names other files' },
  { offset: 0, magic: 'COWD', what: 'a VMDK of an old form (COWD)' },
  { offset: 0, magic: 'QED\0', what: 'a QED image' },
  { offset: 0, magic: 'LUKS\xba\xbe', what: 'a LUKS container' },
  { offset: 0, magic: 'conectix', what: 'a VHD (VPC) image' },
  { offset: 0, magic: 'WithoutFreeSpace', what: 'a Parallels image' },
  { offset: 0, magic: 'WithouFreSpacExt', what: 'a Parallels image' },
  { offset: 0, magic: 'Bochs Virtual HD', what: 'a Bochs image' },
  { offset: 0, magic: '#!/bin/sh\n#V2.0', what: 'a cloop image' },
  { offset: 0, magic: '\x1f\x8b', what: 'gzip data' },
  { offset: 0, magic: '\xfd7zXZ\0', what: 'xz data' },
  { offset: 0, magic: '\x28\xb5\x2f\xfd', what: 'zstd data' },
  { offset: 0, magic: 'BZh', what: 'bzip2 data' },
  { offset: 0, magic: 'PK\x03\x04', what: 'a ZIP archive' },
  { offset: 0, magic: '7z\xbc\xaf', what: 'a 7z archive' },
  { offset: 257, magic: 'ustar', what: 'a tar archive' },
  { offset: 0, magic: '\x7fELF', what: 'a program' },
  { offset: 0, magic: '<!', what: 'a text' },
  { offset: 0, magic: '<?', what: 'a text' },
  { offset: 0, magic: '<h', what: 'a text' },
  { offset: 0, magic: '{', what: 'a text' },
  { offset: 0, magic: 'json:', what: 'a text' },
  { offset: 0, magic: '%PDF', what: 'a PDF document' },
]

function startsWith(bytes: Buffer, magic: string, offset = 0): boolean {
  return bytes.toString('latin1', offset, offset + magic.length) === magic
}

function refused(reason: string): HeaderFinding {
  return { kind: 'refused', reason }
}

function sized(format: ImportFormat, size: bigint): HeaderFinding {
  if (size === 0n) return refused('its disk has no bytes')
  if (size > BigInt(maximumVirtualBytes)) {
    return refused(`its disk of ${size} bytes is larger than the ${maximumVirtualBytes} that are allowed`)
  }
  return { kind: 'image', format, virtualSizeBytes: Number(size) }
}

const qcow2 = {
  corrupt: 1n << 1n,
  externalData: 1n << 2n,
  /** dirty, corrupt, external data, compression type, extended L2 entries */
  known: 0b11111n,
  extensionEnd: 0,
  extensionDataFile: 0x44415441,
  extensionBackingFormat: 0xe2792aca,
} as const

function inspectQcow2(bytes: Buffer): HeaderFinding {
  const version = bytes.readUInt32BE(4)
  if (version !== 2 && version !== 3) return refused(`it is a qcow image of version ${version}`)
  if (bytes.readBigUInt64BE(8) !== 0n || bytes.readUInt32BE(16) !== 0) return refused('it has a backing file')
  const clusterBits = bytes.readUInt32BE(20)
  if (clusterBits < 9 || clusterBits > 21)
    return refused(`its cluster size of 2^${clusterBits} is not possible`)
  if (bytes.readUInt32BE(32) !== 0) return refused('it is encrypted')
  const features = version === 3 ? bytes.readBigUInt64BE(72) : 0n
  if ((features & qcow2.corrupt) !== 0n) return refused('it is marked corrupt')
  if ((features & qcow2.externalData) !== 0n) return refused('it has an external data file')
  if ((features & ~qcow2.known) !== 0n) return refused('it has features that are not known')

  const extensions = inspectExtensions(bytes, version === 3 ? bytes.readUInt32BE(100) : 72)
  return extensions ?? sized('qcow2', bytes.readBigUInt64BE(24))
}

function inspectExtensions(bytes: Buffer, start: number): HeaderFinding | undefined {
  if (start < 72) return refused('its header is shorter than a header')
  let at = start
  for (;;) {
    if (at + 8 > bytes.length) return refused('its header extensions do not end')
    const type = bytes.readUInt32BE(at)
    const length = bytes.readUInt32BE(at + 4)
    if (type === qcow2.extensionEnd) return undefined
    if (type === qcow2.extensionDataFile) return refused('it names an external data file')
    if (type === qcow2.extensionBackingFormat) return refused('it names the format of a backing file')
    at += 8 + Math.ceil(length / 8) * 8
  }
}

function inspectVmdk(bytes: Buffer): HeaderFinding {
  const sectors = bytes.readBigUInt64LE(12)
  // QEMU opens the extents of the descriptor when the capacity is zero.
  if (sectors === 0n) return refused('its disk is described by other files')
  const descriptorAt = Number(bytes.readBigUInt64LE(28)) * 512
  const descriptorBytes = Number(bytes.readBigUInt64LE(36)) * 512
  if (descriptorAt + descriptorBytes > bytes.length) return refused('its descriptor is not where it belongs')
  const [text = ''] = bytes.toString('latin1', descriptorAt, descriptorAt + descriptorBytes).split('\0')
  const lines = text.split(/\r?\n/).map((line) => line.trim())
  const extents = lines.filter((line) => /^(RW|RDONLY|NOACCESS)\s/i.test(line))
  if (extents.some((line) => !/^RW\s+\d+\s+SPARSE\s+"[^"/\\]*"$/i.test(line)) || extents.length > 1) {
    return refused('its disk lies in other files')
  }
  const parent = lines.find((line) => /^parentCID\s*=/i.test(line))
  if (lines.some((line) => /^parentFileNameHint/i.test(line)) || (parent && !/=\s*ffffffff$/i.test(parent))) {
    return refused('it has a parent image')
  }
  return sized('vmdk', sectors * 512n)
}

const vdiTypes = new Set([1, 2]) // dynamic, fixed; 3 and 4 are differences to another image

function inspectVdi(bytes: Buffer): HeaderFinding {
  const size = bytes.readBigUInt64LE(0x170)
  if (!vdiTypes.has(bytes.readUInt32LE(0x4c))) return refused('it is the difference to another image')
  return sized('vdi', size)
}

/** What was asked for and what was found. */
export interface ImportQuestion {
  readonly requested: ImportFormat | undefined
  readonly finding: HeaderFinding
  readonly sizeBytes: number
  /** The last `packedImageBytes`, where they were read. */
  readonly end?: Uint8Array
}

/** Decides the format that a file is read as; never guesses raw, which anything could be. */
export function decideFormat(
  question: ImportQuestion,
):
  | { readonly kind: 'accepted'; readonly format: ImportFormat }
  | { readonly kind: 'refused'; readonly reason: string } {
  const { requested, finding, sizeBytes, end } = question
  const behind = packedImageOf(new Uint8Array(), end)
  if (sizeBytes === 0) return { kind: 'refused', reason: 'it is empty' }
  if (sizeBytes > maximumVirtualBytes) {
    return { kind: 'refused', reason: `it is larger than the ${maximumVirtualBytes} bytes that are allowed` }
  }
  switch (finding.kind) {
    case 'refused':
      return finding
    case 'image':
      if (requested !== undefined && requested !== finding.format) {
        return { kind: 'refused', reason: `it is a ${finding.format} image, not a ${requested} one` }
      }
      return { kind: 'accepted', format: finding.format }
    case 'unknown':
      if (requested === undefined) {
        return {
          kind: 'refused',
          reason: 'its format is not known; if it is a raw disk, say so with the format raw',
        }
      }
      if (requested !== 'raw') return { kind: 'refused', reason: `it is not a ${requested} image` }
      if (sizeBytes % 512 !== 0)
        return { kind: 'refused', reason: 'its size is not a whole number of 512-byte sectors' }
      if (behind) return { kind: 'refused', reason: `it is ${behind.what}: ${behind.advice}` }
      return { kind: 'accepted', format: 'raw' }
  }
}
