/**
 * Disks: a graph of block nodes on descriptors, and the device on top of it.
 *
 * Every file of a chain is a node of its own with a stated format, opened through a descriptor, and its backing node is named: QEMU
 * never opens a file by a path and never looks into one to guess its format. Only the top is opened for writing. QEMU locks the
 * files as it does by default.
 *
 * A disk is planned as data first, so that a disk that is plugged while the guest runs is the very one that the next start makes.
 */
import { type DiskSpec, isCdrom, isReadOnly, KvasirError } from '@kvasir/contract'
import type { Reach } from '../storage/reach.ts'
import { isEncryptedRaw, type VolumeSource } from '../storage/volume-source.ts'
import { type AioChoice, aioOption, chooseAio } from './aio.ts'
import { bootIndexes } from './boot.ts'
import type { BuildContext } from './build-context.ts'
import { type CacheChoice, cacheOptions, chooseCache } from './cache.ts'
import type { DescriptorList } from './descriptor-list.ts'
import type { DiskDevice, DiskInput } from './disk-device.ts'
import type { BlockNode, DiskPlan } from './disk-plan.ts'
import { type EmulatorPlan, secretPath } from './emulator-plan.ts'
import type { DiskBacking } from './hardware.ts'
import { chainNodes, deviceId, nameToken, secretObjectId } from './ids.ts'
import { jsonOption } from './options.ts'
import { ownThread } from './own-thread.ts'
import { type PciBus, pciBus } from './pci-bus.ts'
import { sataDevices } from './sata.ts'
import { virtioBlkDevices } from './virtio-blk.ts'
import { virtioScsiDevices } from './virtio-scsi.ts'
import { volumeNode } from './volume-node.ts'

/** The longest chain that is attached. A guest's read may have to look into every member. */
const longestChain = 64

/** The arguments and ids of all disks of a VM. */
export interface DisksPlan {
  readonly args: readonly string[]
  readonly ids: EmulatorPlan['ids']['disks']
  readonly ioThreads: readonly string[]
  readonly reach: EmulatorPlan['reach']
  readonly secrets: EmulatorPlan['secrets']
}

/** The block nodes, I/O threads and devices of the VM's disks, in the order of their names. */
export function diskArgs({ input, bus, descriptors }: BuildContext): DisksPlan {
  const indexes = bootIndexes(input)
  const disks = [...input.spec.disks].sort((a, b) => (a.name < b.name ? -1 : 1))
  const plans = disks.map((disk) => planOf(disk, { input, bus, bootIndex: indexes.get(disk.name) }))
  const made = new Set<string>()
  return {
    args: plans.flatMap((plan) => argsOf(onlyNew(plan, made), descriptors)),
    ids: Object.fromEntries(plans.map((plan) => [plan.disk, plan.ids])),
    ioThreads: [...new Set(plans.flatMap((plan) => plan.ioThread ?? []))],
    reach: plans.flatMap(({ disk, reach }) => (reach.length === 0 ? [] : { disk, servers: reach })),
    secrets: plans.flatMap(({ nodes }) => nodes.flatMap(({ secret }) => secret ?? [])),
  }
}

/** A disk without the controller and the I/O thread that a former one has brought. */
function onlyNew(plan: DiskPlan, made: Set<string>): DiskPlan {
  const isNew = ({ id }: { readonly id: string }) => !made.has(id)
  const objects = plan.objects.filter(isNew)
  const devices = plan.devices.filter(isNew)
  for (const { id } of [...objects, ...devices]) made.add(id)
  return { ...plan, objects, devices }
}

/** One disk of a VM, to be plugged while its guest runs. The firmware takes it into its boot order at the next start. */
export function planDisk(input: DiskInput, name: string): DiskPlan {
  const disk = input.spec.disks.find((candidate) => candidate.name === name)
  if (disk === undefined) throw new KvasirError('internal', `VM ${input.name} has no disk ${name} to plug.`)
  return planOf(disk, { input, bus: pciBus(input), bootIndex: undefined })
}

const makers = {
  'virtio-blk': virtioBlkDevices,
  'virtio-scsi': virtioScsiDevices,
  sata: sataDevices,
} as const

function planOf(
  disk: DiskSpec,
  place: { readonly input: DiskInput; readonly bus: PciBus; readonly bootIndex: number | undefined },
): DiskPlan {
  const { input, bus, bootIndex } = place
  const backing = backingOf(input.disks, disk)
  const { nodes, chain, aio, cache } = backing ? chainOf(backing, disk, input) : noMedium
  const thread = ownThread(disk, input)
  const ioThread = thread === undefined ? undefined : deviceId('io', thread)
  const node = chainNodes(disk.name, 0).format
  const device: DiskDevice = {
    disk,
    node: backing && node,
    ioThread,
    bootIndex,
    serial: disk.serial ?? nameToken(disk.name),
  }
  return {
    disk: disk.name,
    nodes,
    reach: backing ? reachOf(backing) : [],
    ioThread,
    objects: ioThread === undefined ? [] : [{ 'qom-type': 'iothread', id: ioThread }],
    devices: makers[disk.bus](device, { input, bus }),
    ids: {
      device: deviceId('disk', disk.name),
      node,
      chain,
      ...(ioThread === undefined ? {} : { ioThread }),
      ...(disk.controller === undefined ? {} : { controller: disk.controller }),
      ...(aio === undefined ? {} : { aio }),
      ...(cache === undefined ? {} : { cache }),
    },
  }
}

function argsOf(plan: DiskPlan, descriptors: DescriptorList): readonly string[] {
  return [
    ...plan.nodes.flatMap((node) => nodeArgs(node, descriptors)),
    ...plan.objects.flatMap((object) => jsonOption('-object', object)),
    ...plan.devices.flatMap((device) => jsonOption('-device', device)),
  ]
}

function nodeArgs({ file, secret, options }: BlockNode, descriptors: DescriptorList): readonly string[] {
  if (file === undefined) return [...secretArgs(secret), ...jsonOption('-blockdev', options)]
  const set = descriptors.addSet(file, options['node-name'])
  return [...set.args, ...jsonOption('-blockdev', { ...options, filename: set.path })]
}

/** QEMU reads the file when it makes the object (docs of qemu-system: `-object secret`). */
function secretArgs(secret: BlockNode['secret']): readonly string[] {
  if (secret === undefined) return []
  const { object, format } = secret
  return jsonOption('-object', { 'qom-type': 'secret', id: object, format, file: secretPath(secret) })
}

/** Block nodes from the bottom up as QEMU needs them; `chain` lists those with a format, top first. */
interface ChainNodes {
  readonly nodes: readonly BlockNode[]
  readonly chain: readonly string[]
  readonly aio: AioChoice | undefined
  readonly cache: CacheChoice | undefined
}

const noMedium: ChainNodes = { nodes: [], chain: [], aio: undefined, cache: undefined }

/** The nodes of a disk's chain. */
function chainOf(
  { chain, directIo = true, isLocal = true }: DiskBacking,
  disk: DiskSpec,
  { noIoUring }: DiskInput,
): ChainNodes {
  const cacheOf = ({ kind = 'file' }: VolumeSource) =>
    chooseCache(disk, { directIo, isLocal: isLocal && kind === 'file' })
  const choose = (source: VolumeSource) =>
    chooseAio(disk, { source, direct: cacheOptions(cacheOf(source)).direct, noIoUring })
  const nodes: BlockNode[] = []
  const names: string[] = []
  for (let depth = chain.length - 1; depth >= 0; depth -= 1) {
    const member = chain[depth]
    if (member === undefined) continue
    const node = chainNodes(disk.name, depth)
    const cache = cacheOptions(cacheOf(member))
    const readOnly = depth > 0 || isReadOnly(disk)
    const shared = { 'read-only': readOnly, discard: disk.discard, cache }
    const backing = depth === chain.length - 1 ? null : chainNodes(disk.name, depth + 1).format
    const aio = aioOption(choose(member))
    const key = keyOf(member, node.format)
    nodes.push(volumeNode(member, { name: node.file, readOnly, direct: cache.direct, aio, shared }), {
      file: undefined,
      secret: key,
      options: {
        driver: isEncryptedRaw(member) ? 'luks' : member.format,
        'node-name': node.format,
        file: node.file,
        // Said even when there is none: otherwise QEMU follows what the file itself names.
        backing: member.format === 'qcow2' ? backing : undefined,
        'detect-zeroes': depth === 0 ? disk.detectZeroes : undefined,
        encrypt: member.format === 'qcow2' ? key && { format: 'luks', 'key-secret': key.object } : undefined,
        'key-secret': member.format === 'raw' ? key?.object : undefined,
        ...shared,
      },
    })
    names.unshift(node.format)
  }
  const [top] = chain
  return { nodes, chain: names, aio: top && choose(top), cache: top && cacheOf(top) }
}

/** What opens a volume that is encrypted. */
function keyOf({ encryption }: VolumeSource, node: string): BlockNode['secret'] {
  return encryption && { object: secretObjectId(node), secretId: encryption.secretId, format: 'raw' }
}

function reachOf({ chain }: DiskBacking): readonly Reach[] {
  return chain.flatMap((member) => (member.kind === 'protocol' ? member.reach : []))
}

/** What is behind a disk; undefined for a drive without a medium. */
function backingOf(backings: readonly DiskBacking[], disk: DiskSpec): DiskBacking | undefined {
  const backing = backings.find((candidate) => candidate.disk === disk.name)
  if (isCdrom(disk) && (backing?.chain.length ?? 0) === 0) return undefined
  if (backing === undefined || backing.chain.length === 0) {
    throw new KvasirError('internal', `Disk ${disk.name} has no file behind it, so the VM cannot start.`)
  }
  if (backing.chain.length > longestChain) {
    throw new KvasirError(
      'unsupported',
      `The chain of disk ${disk.name} has ${backing.chain.length} files, more than ${longestChain}, so the VM cannot start.`,
    )
  }
  if (backing.chain.slice(0, -1).some((member) => member.format === 'raw')) {
    throw new KvasirError(
      'internal',
      `The chain of disk ${disk.name} has a raw file above its base, which cannot refer to one, so the VM cannot start.`,
    )
  }
  return backing
}
