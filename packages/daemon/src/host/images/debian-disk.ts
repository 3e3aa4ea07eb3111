/**
 * A disk around a root file system: GPT, a partition for GRUB's BIOS core, an EFI system partition, and the root last, so that it can grow.
 * Everything is written into a plain file; no loop device, no mount, no installer that looks for disks.
 *
 * GRUB's own tool makes the two core images from the modules that were unpacked into the root.
 *
 * Not here: what is in the root (debian-root.ts).
 */
import { createHash } from 'node:crypto'
import { open, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFat16 } from '../../model/images/fat.ts'
import {
  type GptPartition,
  partitionAlignment,
  partitionTypes,
  sectorBytes,
  writeGpt,
} from '../../model/images/gpt.ts'
import { grubBootCode, grubCore, grubEarlyConfig, grubModules } from '../../model/images/grub.ts'
import { espLabel, rootLabel } from './debian-root.ts'
import { runStep } from './run-step.ts'

const stepTimeoutMs = 900_000
const mebibyteSectors = 2048

/** Where the partitions lie, in sectors. The numbers are those of Debian's own cloud images: the root is the first. */
const layout = {
  biosFirst: partitionAlignment,
  biosSectors: mebibyteSectors,
  espFirst: 2 * mebibyteSectors,
  espSectors: 32 * mebibyteSectors,
  rootFirst: 34 * mebibyteSectors,
  /** The root grows to the size of the VM's disk at its first boot. */
  totalSectors: 3 * 1024 * mebibyteSectors,
} as const

const rootLast = layout.totalSectors - mebibyteSectors - 1

/** The size that the disk shows a guest. */
export const debianDiskBytes = layout.totalSectors * sectorBytes

/** Writes the disk with the given root as a compressed qcow2; `scratch` is a directory for what lies between. */
export async function makeDebianDisk(
  root: string,
  options: { readonly scratch: string; readonly into: string; readonly signal: AbortSignal },
): Promise<void> {
  const { scratch, into, signal } = options
  const raw = join(scratch, 'disk.raw')
  const run = (...argv: readonly string[]): Promise<string> =>
    runStep(argv, { cwd: scratch, signal, timeoutMs: stepTimeoutMs })

  const cores = await makeCores(root, run)
  await writeOutline(raw, cores)
  const rootKib = ((rootLast + 1 - layout.rootFirst) * sectorBytes) / 1024
  const extended = `offset=${layout.rootFirst * sectorBytes},lazy_itable_init=0,lazy_journal_init=0`
  await run(
    'mke2fs',
    '-q',
    '-F',
    '-t',
    'ext4',
    '-L',
    rootLabel,
    '-E',
    extended,
    '-d',
    root,
    raw,
    `${rootKib}k`,
  )
  await run(
    'qemu-img',
    'convert',
    '-f',
    'raw',
    '-O',
    'qcow2',
    '-c',
    '-o',
    'compat=1.1,compression_type=zstd',
    raw,
    into,
  )
  await rm(raw)
}

interface Cores {
  readonly bootImage: Uint8Array
  readonly bios: Uint8Array
  readonly efi: Uint8Array
}

async function makeCores(root: string, run: (...argv: readonly string[]) => Promise<string>): Promise<Cores> {
  const config = 'tmp/kvasir-grub.cfg'
  await writeFile(join(root, config), grubEarlyConfig(rootLabel))
  const make = async (target: string, modules: readonly string[]): Promise<Uint8Array> => {
    const output = `tmp/kvasir-${target}`
    const fixed = ['-O', target, '-o', `/${output}`, '-c', `/${config}`, '-p', '/boot/grub']
    await run('chroot', root, 'grub-mkimage', ...fixed, ...modules)
    const core = await readFile(join(root, output))
    await rm(join(root, output))
    return core
  }
  const bios = await make('i386-pc', [grubModules.bios, ...grubModules.common])
  const efi = await make('x86_64-efi', grubModules.common)
  await rm(join(root, config))
  return { bootImage: await readFile(join(root, 'usr/lib/grub/i386-pc/boot.img')), bios, efi }
}

/** Writes everything but the root file system; the file is sparse. */
async function writeOutline(path: string, cores: Cores): Promise<void> {
  const { start, end } = writeGpt({
    sectors: layout.totalSectors,
    guid: guidOf('disk'),
    bootCode: grubBootCode(cores.bootImage, layout.biosFirst),
    partitions: partitions(),
  })
  const core = grubCore(cores.bios, { sector: layout.biosFirst, roomSectors: layout.biosSectors })
  const esp = writeFat16({
    sizeBytes: layout.espSectors * sectorBytes,
    label: espLabel,
    serial: 0x4b56_4153,
    files: [{ path: 'EFI/BOOT/BOOTX64.EFI', content: cores.efi }],
  })
  await using file = await open(path, 'wx', 0o600)
  await file.truncate(debianDiskBytes)
  await file.write(start, 0, start.length, 0)
  await file.write(core, 0, core.length, layout.biosFirst * sectorBytes)
  await file.write(esp, 0, esp.length, layout.espFirst * sectorBytes)
  await file.write(end, 0, end.length, debianDiskBytes - end.length)
}

function partitions(): readonly GptPartition[] {
  const { biosFirst, biosSectors, espFirst, espSectors, rootFirst } = layout
  return [
    {
      number: 1,
      name: 'root',
      type: partitionTypes.linuxRootX86,
      guid: guidOf('root'),
      first: rootFirst,
      last: rootLast,
    },
    {
      number: 14,
      name: 'bios',
      type: partitionTypes.biosBoot,
      guid: guidOf('bios'),
      first: biosFirst,
      last: biosFirst + biosSectors - 1,
    },
    {
      number: 15,
      name: 'esp',
      type: partitionTypes.efiSystem,
      guid: guidOf('esp'),
      first: espFirst,
      last: espFirst + espSectors - 1,
    },
  ]
}

/** A GUID of version 8 made from a name, the same in every image: a disk's copy has the same ones anyway. */
function guidOf(name: string): string {
  const hex = createHash('sha256').update(`kvasir ${name}`).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}
