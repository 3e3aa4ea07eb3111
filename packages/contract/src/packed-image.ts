/**
 * Files that hold a disk but are not its contents: images of other formats, containers, packed data, told by their first bytes, or, a
 * VHD of fixed size, by a footer of 512 bytes behind the contents (Microsoft's "Virtual Hard Disk Image Format Specification"). Who takes
 * one for raw contents gives a guest a disk of tables, so it is asked for twice.
 *
 * An ISO image is contents, and is not told of. The magic numbers are those that QEMU's block drivers look for, and of RFC 1952 (gzip),
 * RFC 8878 (zstd), and the descriptions of the xz, bzip2 and ZIP formats.
 */

/** How many bytes of the beginning are looked at, and of the end. */
export const packedImageBytes = 512

/** What a file is, and what would make contents of it. */
export interface PackedImage {
  /** With its article: `a VMDK image`. */
  readonly what: string
  /** A sentence's end: `qemu-img convert -O raw makes contents of it`. */
  readonly advice: string
}

const convert = 'qemu-img convert -O raw makes contents of it'
const unpack = 'unpack it first'
const magics: readonly (readonly [offset: number, magic: string, what: string, advice: string])[] = [
  [0, 'QFI\xfb', 'a qcow2 image', convert],
  [0, 'KDMV', 'a VMDK image', convert],
  [0, 'COWD', 'a VMDK image', convert],
  [0, '# Disk Descri', 'the descriptor of a VMDK image', convert],
  [64, '\x7f\x10\xda\xbe', 'a VDI image', convert],
  [0, 'vhdxfile', 'a VHDX image', convert],
  [0, 'conectix', 'a VHD image', convert],
  [0, 'QED\0', 'a QED image', convert],
  [0, 'WithoutFreeSpace', 'a Parallels image', convert],
  [0, 'WithouFreSpacExt', 'a Parallels image', convert],
  [0, 'LUKS\xba\xbe', 'a LUKS container', 'name the secret that opens it'],
  [0, '\x1f\x8b\x08', 'gzip data', unpack],
  [0, '\xfd7zXZ\0', 'xz data', unpack],
  [0, '\x28\xb5\x2f\xfd', 'zstd data', unpack],
  [4, '1AY&SY', 'bzip2 data', unpack],
  [0, 'PK\x03\x04', 'a ZIP archive', unpack],
]

const fixedVhd: PackedImage = {
  what: 'a VHD image of fixed size',
  advice: 'its last 512 bytes are no contents, and truncate -s -512 takes them from a copy',
}

/** What a file is by its first bytes, and by its last ones where those are known; undefined for what may be contents. */
export function packedImageOf(bytes: Uint8Array, end?: Uint8Array): PackedImage | undefined {
  const found = magics.find(([offset, magic]) => holds(bytes, offset, magic))
  if (found) return { what: found[2], advice: found[3] }
  return end !== undefined && holds(end, end.length - packedImageBytes, 'conectix') ? fixedVhd : undefined
}

function holds(bytes: Uint8Array, offset: number, magic: string): boolean {
  if (offset < 0) return false
  const there = bytes.subarray(offset, offset + magic.length)
  return there.length === magic.length && there.every((byte, index) => byte === magic.charCodeAt(index))
}
