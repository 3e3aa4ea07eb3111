/** A VM's spec from the flags of `kvasir vm create`. What is not said is left to the daemon's defaults. */
import { readFile } from 'node:fs/promises'
import type { VmSpecInput } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract/error-table'
import type { Context } from '../context.ts'
import { UsageError } from '../usage-error.ts'
import { cpuFromFlags } from './cpu-from-flags.ts'
import {
  type DiskInput,
  parseAssignment,
  parseDevices,
  parseDisk,
  parseHostDevice,
  parseShare,
} from './device-words.ts'
import { type NicInput, parseForward, parseNic } from './nic-words.ts'

/** What the image that was named boots from; decides whether the first disk is the root disk. */
export type ImageBoot = 'kernel' | 'disk' | undefined

/** Builds the spec. Reads the files that flags name; throws `file-not-found` and `UsageError`. */
export async function specFromFlags(context: Context, imageBoot: ImageBoot): Promise<VmSpecInput> {
  const image = context.value('image')
  const memory = memoryFromFlags(context)
  const accelerator = context.choice('accelerator', ['auto', 'kvm', 'tcg'])
  const description = context.value('description')
  const labels = context.values('label').map((text) => parseAssignment(text, 'label'))
  const cloudInit = await cloudInitFromFlags(context)
  const disks = disksFromFlags(context.values('disk'), imageBoot)
  const devices = context.value('devices')
  const hostDevices = context
    .values('host-device')
    .map((text, index) => parseHostDevice(text, `host${index}`))
  const shares = context.values('share').map((text, index) => parseShare(text, `share${index}`))
  return {
    ...(description === undefined ? {} : { description }),
    ...(labels.length > 0 ? { labels: Object.fromEntries(labels) } : {}),
    ...(image === undefined ? {} : { image }),
    ...(accelerator === undefined ? {} : { accelerator }),
    ...machineFromFlags(context),
    ...cpuFromFlags(context),
    ...(Object.keys(memory).length > 0 ? { memory } : {}),
    ...bootFromFlags(context),
    ...(disks.length > 0 ? { disks } : {}),
    nics: nicsFromFlags(context.values('nic'), context.values('forward')),
    ...(hostDevices.length > 0 ? { hostDevices } : {}),
    ...(shares.length > 0 ? { shares } : {}),
    ...(cloudInit === undefined ? {} : { cloudInit }),
    ...(devices === undefined ? {} : { devices: parseDevices(devices) }),
    ...(context.has('autostart') ? { autostart: { enabled: true } } : {}),
  }
}

/**
 * The disks. On an image that boots from its disk, the first one that is a disk and names no other source is the root disk: the daemon
 * makes `root` from the image, and makes one where there is none.
 */
export function disksFromFlags(words: readonly string[], imageBoot: ImageBoot): DiskInput[] {
  const disks = words.map((text, index) => parseDisk(text, `disk${index}`))
  const first = disks.find((disk) => disk.device !== 'cdrom')
  const isRoot = imageBoot === 'disk' && first?.image === undefined && first?.volume === undefined
  return disks.map((disk) => (isRoot && disk === first ? { bootOrder: 1, ...disk, name: 'root' } : disk))
}

/** The NICs: one of user mode unless said otherwise; `--forward` leads into the first. */
export function nicsFromFlags(words: readonly string[], forwards: readonly string[]): NicInput[] {
  if (words.includes('none')) {
    if (words.length > 1 || forwards.length > 0) {
      throw new UsageError(
        '--nic none leaves no NIC to configure.',
        'Leave out --nic none, or the other flags.',
      )
    }
    return []
  }
  const [first, ...others] = (words.length > 0 ? words : ['']).map((text, index) =>
    parseNic(text, `net${index}`),
  )
  if (first === undefined) return []
  const all = [...(first.forwards ?? []), ...forwards.map(parseForward)]
  return [all.length > 0 ? { ...first, forwards: all } : first, ...others]
}

function memoryFromFlags(context: Context): NonNullable<VmSpecInput['memory']> {
  const size = context.value('memory')
  const max = context.value('memory-max')
  const pageSize = context.choice('memory-pages', ['default', '2MiB', '1GiB'])
  const nodes = context.value('memory-nodes')
  const nodePolicy = context.choice('memory-policy', ['bind', 'preferred', 'interleave'])
  const thp = context.choice('thp', ['default', 'always', 'never'])
  return {
    ...(size === undefined ? {} : { size }),
    ...(max === undefined ? {} : { max }),
    ...(context.has('shared-memory') ? { sharing: 'shared' } : {}),
    ...(pageSize === undefined ? {} : { pageSize }),
    ...(thp === undefined ? {} : { thp }),
    ...(context.has('no-ksm') ? { ksm: false } : {}),
    ...(context.has('preallocate') ? { preallocate: true } : {}),
    ...(context.has('lock-memory') ? { lock: true } : {}),
    ...(nodes === undefined ? {} : { nodes: nodeNumbers(nodes) }),
    ...(nodePolicy === undefined ? {} : { nodePolicy }),
  }
}

function nodeNumbers(text: string): number[] {
  return text.split(',').map((word) => {
    if (/^\d{1,4}$/.test(word)) return Number(word)
    throw new UsageError(`--memory-nodes ${text} names no nodes.`, 'Use: --memory-nodes 0,1')
  })
}

function machineFromFlags(context: Context): Pick<VmSpecInput, 'machine'> {
  const type = context.choice('machine', ['q35', 'microvm'])
  const secureBoot = context.has('secure-boot')
  const firmware = context.choice('firmware', ['bios', 'uefi']) ?? (secureBoot ? 'uefi' : undefined)
  if (type === undefined && firmware === undefined) return {}
  return {
    machine: {
      ...(type === undefined ? {} : { type }),
      ...(firmware === undefined ? {} : { firmware }),
      ...(secureBoot ? { secureBoot } : {}),
    },
  }
}

function bootFromFlags(context: Context): Pick<VmSpecInput, 'boot'> {
  const kernel = context.value('kernel')
  const initrd = context.value('initrd')
  const cmdline = context.value('cmdline')
  if (kernel === undefined) {
    if (initrd !== undefined)
      throw new UsageError('--initrd is of no use without --kernel.', 'Add --kernel PATH.')
    return cmdline === undefined ? {} : { boot: { cmdline } }
  }
  return {
    boot: {
      kernel: {
        kernel,
        ...(initrd === undefined ? {} : { initrd }),
        ...(cmdline === undefined ? {} : { cmdline }),
      },
    },
  }
}

async function cloudInitFromFlags(context: Context): Promise<VmSpecInput['cloudInit']> {
  const user = context.value('user')
  const hostname = context.value('hostname')
  const userDataFile = context.value('user-data')
  const keyFiles = context.values('ssh-key')
  if (user === undefined && hostname === undefined && userDataFile === undefined && keyFiles.length === 0)
    return undefined
  const keys = (
    await Promise.all(keyFiles.map(async (file) => publicKeys(await readText(file), file)))
  ).flat()
  return {
    ...(user === undefined ? {} : { user }),
    ...(hostname === undefined ? {} : { hostname }),
    ...(keys.length > 0 ? { sshKeys: keys } : {}),
    ...(userDataFile === undefined ? {} : { userData: await readText(userDataFile) }),
  }
}

/** The public keys of a file, one a line. A private key is refused, since it would become readable in the guest. */
function publicKeys(text: string, file: string): string[] {
  if (/PRIVATE KEY/.test(text)) {
    throw new UsageError(`${file} holds a private key.`, `Give the public one: --ssh-key ${file}.pub`)
  }
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    throw new KvasirError('file-not-found', `File ${file} cannot be read, so nothing was created.`, { cause })
  }
}
