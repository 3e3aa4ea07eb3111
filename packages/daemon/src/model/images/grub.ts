/**
 * How GRUB gets onto a disk image without being installed by a running system: its two BIOS stages are told where they lie, and its
 * configuration finds the root file system by label (GRUB manual, "BIOS installation"; fields of boot.img and diskboot.img as GRUB 2.06 and
 * 2.12 have them).
 *
 * Not here: making the stages (host/images/debian-disk.ts runs grub-mkimage).
 */

/** Modules that the core image holds for BIOS and for UEFI, so that it needs no file but its configuration. */
export const grubModules = {
  bios: 'biosdisk',
  common: [
    'part_gpt',
    'ext2',
    'normal',
    'configfile',
    'search',
    'search_label',
    'search_fs_uuid',
    'linux',
    'echo',
    'test',
    'serial',
    'terminal',
    'gzio',
    'zstd',
    'minicmd',
    'ls',
    'cat',
    'reboot',
    'halt',
    'probe',
    'all_video',
  ],
} as const

const bootSectorField = { coreSector: 0x5c, codeBytes: 440 } as const
const diskBootField = { start: 0x1f4, sectors: 0x1fc, segment: 0x1fe } as const
/** Where diskboot.img loads the rest of the core to: 0x8000 + one sector, as a real-mode segment. */
const kernelSegment = 0x820
const sectorBytes = 512

/** The boot code of the MBR, told at which sector the core image begins. */
export function grubBootCode(bootImage: Uint8Array, coreSector: number): Uint8Array {
  if (bootImage.length !== sectorBytes) throw new RangeError('boot.img is not one sector long.')
  const code = Buffer.from(bootImage)
  code.writeBigUInt64LE(BigInt(coreSector), bootSectorField.coreSector)
  return code.subarray(0, bootSectorField.codeBytes)
}

/** The core image, told where on the disk its own second sector is; `roomSectors` is what the BIOS boot partition holds. */
export function grubCore(
  core: Uint8Array,
  place: { readonly sector: number; readonly roomSectors: number },
): Uint8Array {
  const sectors = Math.ceil(core.length / sectorBytes)
  if (sectors < 2 || sectors > place.roomSectors) {
    throw new RangeError(`The core image of ${core.length} bytes does not fit its partition.`)
  }
  const placed = Buffer.alloc(sectors * sectorBytes)
  placed.set(core)
  placed.writeBigUInt64LE(BigInt(place.sector + 1), diskBootField.start)
  placed.writeUInt16LE(sectors - 1, diskBootField.sectors)
  placed.writeUInt16LE(kernelSegment, diskBootField.segment)
  return placed
}

/** What the core image does first: it finds the root file system and goes on with the configuration there. */
export function grubEarlyConfig(rootLabel: string): string {
  return [
    `search --no-floppy --label ${rootLabel} --set=root`,
    'set prefix=($root)/boot/grub',
    'configfile $prefix/grub.cfg',
    '',
  ].join('\n')
}

/** The configuration until the guest's own update-grub writes one: the newest kernel, at once, on screen and serial line. */
export function grubConfig(rootLabel: string, cmdline: string): string {
  return [
    'serial --unit=0 --speed=115200',
    'terminal_input console serial',
    'terminal_output console serial',
    'set timeout=0',
    'set default=0',
    'menuentry "Debian GNU/Linux" {',
    `  search --no-floppy --label ${rootLabel} --set=root`,
    `  linux /vmlinuz root=LABEL=${rootLabel} ro ${cmdline}`,
    '  initrd /initrd.img',
    '}',
    '',
  ].join('\n')
}
