/**
 * Disks: a graph of block nodes on descriptors, and the device on top of it.
 *
 * Every file of a chain is a node of its own with a stated format, opened through a descriptor, and its backing node is named: QEMU
 * never opens a file by a path and never looks into one to guess its format. Only the top is opened for writing. QEMU locks the
 * files as it does by default.
 *
 * A disk is planned as data first, so that a disk that is plugged while the guest runs is the very one that the next start makes.
 */
import { type DiskSpec, KvasirError } from '@kvasir/contract'
import type { Reach } from '../storage/reach.ts'
import { bootIndexes } from './boot.ts'
import type { BuildContext } from './build-context.ts'
import type { DescriptorList } from './descriptor-list.ts'
import type { BlockNode, DiskPlan } from './disk-plan.ts'
import { type EmulatorPlan, secretPath } from './emulator-plan.ts'
import type { DiskBacking, HardwareInput } from './hardware.ts'
import { chainNodes, deviceId, nameToken } from './ids.ts'
import { jsonOption } from './options.ts'
import { type PciBus, pciBus } from './pci-bus.ts'
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

/** What a disk is planned from. */
export type DiskInput = Pick<HardwareInput, 'name' | 'spec' | 'hardware' | 'disks'>

/** What a disk's device is made from, whatever its bus. */
export interface DiskDevice {
  readonly disk: DiskSpec
  readonly node: string
  readonly ioThread: string | undefined
  readonly bootIndex: number | undefined
  /** Shown to the guest: `/dev/disk/by-id/virtio-SERIAL`. At most 20 characters (virtio 1.2, 5.2.6.1). */
  readonly serial: string
}

/** The block nodes, I/O threads and devices of the VM's disks, in the order of their names. */
export function diskArgs({ input, bus, descriptors }: BuildContext): DisksPlan {
  const indexes = bootIndexes(input)
  const disks = [...input.spec.disks].sort((a, b) => (a.name < b.name ? -1 : 1))
  const plans = disks.map((disk) => planOf(disk, { input, bus, bootIndex: indexes.get(disk.name) }))
  return {
    args: plans.flatMap((plan) => argsOf(plan, descriptors)),
    ids: Object.fromEntries(plans.map((plan) => [plan.disk, plan.ids])),
    ioThreads: plans.flatMap((plan) => plan.ioThread ?? []),
    reach: plans.flatMap(({ disk, reach }) => (reach.length === 0 ? [] : { disk, servers: reach })),
    secrets: plans.flatMap(({ nodes }) => nodes.flatMap(({ secret }) => secret ?? [])),
  }
}

/** One disk of a VM, to be plugged while its guest runs. The firmware takes it into its boot order at the next start. */
export function planDisk(input: DiskInput, name: string): DiskPlan {
  const disk = input.spec.disks.find((candidate) => candidate.name === name)
  if (disk === undefined) throw new KvasirError('internal', `VM ${input.name} has no disk ${name} to plug.`)
  return planOf(disk, { input, bus: pciBus(input), bootIndex: undefined })
}

function planOf(
  disk: DiskSpec,
  place: { readonly input: DiskInput; readonly bus: PciBus; readonly bootIndex: number | undefined },
): DiskPlan {
  const { input, bus, bootIndex } = place
  const { nodes, chain } = chainOf(requireBacking(input.disks, disk), disk)
  const ioThread = disk.ioThread ? deviceId('io', disk.name) : undefined
  const node = chainNodes(disk.name, 0).format
  const device: DiskDevice = {
    disk,
    node,
    ioThread,
    bootIndex,
    serial: disk.serial ?? nameToken(disk.name),
  }
  const make = disk.bus === 'virtio-blk' ? virtioBlkDevices : virtioScsiDevices
  return {
    disk: disk.name,
    nodes,
    reach: reachOf(requireBacking(input.disks, disk)),
    ioThread,
    objects: ioThread === undefined ? [] : [{ 'qom-type': 'iothread', id: ioThread }],
    devices: make(device, { input, bus }),
    ids: { device: deviceId('disk', disk.name), node, chain },
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

/** The nodes of a disk's chain, from the bottom up as QEMU needs them; `chain` lists those with a format, top first. */
function chainOf(
  { chain, directIo }: DiskBacking,
  disk: DiskSpec,
): { readonly nodes: readonly BlockNode[]; readonly chain: readonly string[] } {
  const cache = cacheOptions(disk, directIo ?? true)
  const nodes: BlockNode[] = []
  const names: string[] = []
  for (let depth = chain.length - 1; depth >= 0; depth -= 1) {
    const member = chain[depth]
    if (member === undefined) continue
    const node = chainNodes(disk.name, depth)
    const readOnly = depth > 0 || disk.readOnly
    const shared = { 'read-only': readOnly, discard: disk.discard, cache }
    const backing = depth === chain.length - 1 ? null : chainNodes(disk.name, depth + 1).format
    nodes.push(volumeNode(member, { name: node.file, readOnly, direct: cache.direct, shared }), {
      file: undefined,
      options: {
        driver: member.format,
        'node-name': node.format,
        file: node.file,
        // Said even when there is none: otherwise QEMU follows what the file itself names.
        backing: member.format === 'qcow2' ? backing : undefined,
        ...shared,
      },
    })
    names.unshift(node.format)
  }
  return { nodes, chain: names }
}

function reachOf({ chain }: DiskBacking): readonly Reach[] {
  return chain.flatMap((member) => (member.kind === 'protocol' ? member.reach : []))
}

function cacheOptions(
  disk: DiskSpec,
  directIo: boolean,
): { readonly direct: boolean; readonly 'no-flush': boolean } {
  return { direct: disk.cache === 'none' && directIo, 'no-flush': disk.cache === 'unsafe' }
}

function requireBacking(backings: readonly DiskBacking[], disk: DiskSpec): DiskBacking {
  const backing = backings.find((candidate) => candidate.disk === disk.name)
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
