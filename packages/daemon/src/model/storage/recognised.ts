/**
 * What a disk holds by the magic numbers at its beginning: partition tables, file systems, and what else lies on whole disks. So that a
 * volume that somebody still needs is not written over by mistake. Data without such a mark is not told from rubbish.
 *
 * Sources: the UEFI specification (GPT), linux/magic.h and the on-disk headers of the kernel's file systems, lib/format_text/layout.h of
 * LVM2, ECMA-119. Files that hold a disk are those of the contract (packed-image.ts).
 */
import { packedImageOf } from '@kvasir/contract'

/** How many bytes of the beginning are looked at: the mark of Btrfs lies furthest in. */
export const recognisedBytes = 68 * 1024

const marks: readonly (readonly [offset: number, magic: string, what: string])[] = [
  [512, 'EFI PART', 'a partition table (GPT)'],
  [4096, 'EFI PART', 'a partition table (GPT)'],
  [0, 'XFSB', 'an XFS file system'],
  [1080, '\x53\xef', 'an ext2, ext3 or ext4 file system'],
  [65_600, '_BHRfS_M', 'a Btrfs file system'],
  [1024, '\x10\x20\xf5\xf2', 'an F2FS file system'],
  [3, 'NTFS    ', 'an NTFS file system'],
  [32_769, 'CD001', 'an ISO 9660 file system'],
  [4086, 'SWAPSPACE2', 'swap space'],
  [512, 'LABELONE', 'a physical volume of LVM'],
  [0, 'LABELONE', 'a physical volume of LVM'],
  [1024, 'LABELONE', 'a physical volume of LVM'],
  [1536, 'LABELONE', 'a physical volume of LVM'],
  [4096, '\xfc\x4e\x2b\xa9', 'a member of a RAID (md)'],
  [0, '\xfc\x4e\x2b\xa9', 'a member of a RAID (md)'],
  // The last, since what is told above may have it too.
  [510, '\x55\xaa', 'a partition table or a boot sector'],
]

/** What a disk holds, with its article, by its first bytes; undefined for what is not recognised. */
export function recognisedOn(bytes: Uint8Array): string | undefined {
  const found = marks.find(([offset, magic]) => {
    const there = bytes.subarray(offset, offset + magic.length)
    return there.length === magic.length && there.every((byte, index) => byte === magic.charCodeAt(index))
  })
  return packedImageOf(bytes)?.what ?? found?.[2]
}
