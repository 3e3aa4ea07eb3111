/**
 * Disks: a graph of block nodes on descriptors, and the device on top of it.
 *
 * Every file of a chain is a node of its own with a stated format, opened through a descriptor, and its backing node is named: QEMU
 * never opens a file by a path and never looks into one to guess its format. Only the top is opened for writing. QEMU locks the
 * files as it does by default.
 */
import { type DiskSpec, KvasirError } from '@kvasir/contract'
import { bootIndexes } from './boot.ts'
import type { BuildContext } from './build-context.ts'
import type { EmulatorPlan } from './emulator-plan.ts'
import type { DiskBacking } from './hardware.ts'
import { chainNodes, deviceId, nameToken } from './ids.ts'
import { jsonOption } from './options.ts'
import { virtioBlkArgs } from './virtio-blk.ts'
import { virtioScsiArgs } from './virtio-scsi.ts'

/** The longest chain that is attached. A guest's read may have to look into every member. */
const longestChain = 64

/** The arguments and ids of all disks of a VM. */
export interface DisksPlan {
  readonly args: readonly string[]
  readonly ids: EmulatorPlan['ids']['disks']
  readonly ioThreads: readonly string[]
}

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
export function diskArgs(context: BuildContext): DisksPlan {
  const indexes = bootIndexes(context.input)
  const args: string[] = []
  const ids: Record<string, EmulatorPlan['ids']['disks'][string]> = {}
  const ioThreads: string[] = []
  const disks = [...context.input.spec.disks].sort((a, b) => (a.name < b.name ? -1 : 1))
  for (const disk of disks) {
    const { nodes, args: nodeArgs } = chainArgs(context, disk)
    const device: DiskDevice = {
      disk,
      node: chainNodes(disk.name, 0).format,
      ioThread: disk.ioThread ? deviceId('io', disk.name) : undefined,
      bootIndex: indexes.get(disk.name),
      serial: disk.serial ?? nameToken(disk.name),
    }
    args.push(...nodeArgs)
    if (device.ioThread !== undefined) {
      ioThreads.push(device.ioThread)
      args.push(...jsonOption('-object', { 'qom-type': 'iothread', id: device.ioThread }))
    }
    args.push(
      ...(disk.bus === 'virtio-blk' ? virtioBlkArgs(context, device) : virtioScsiArgs(context, device)),
    )
    ids[disk.name] = { device: deviceId('disk', disk.name), node: device.node, chain: nodes }
  }
  return { args, ids, ioThreads }
}

/** The nodes of a disk's chain, from the bottom up as QEMU needs them; `nodes` lists them top first. */
function chainArgs(
  { input, descriptors }: BuildContext,
  disk: DiskSpec,
): { readonly nodes: readonly string[]; readonly args: readonly string[] } {
  const { chain, directIo } = requireBacking(input.disks, disk)
  const cache = cacheOptions(disk, directIo ?? true)
  const args: string[] = []
  const nodes: string[] = []
  for (let depth = chain.length - 1; depth >= 0; depth -= 1) {
    const member = chain[depth]
    if (member === undefined) continue
    const node = chainNodes(disk.name, depth)
    const readOnly = depth > 0 || disk.readOnly
    const shared = { 'read-only': readOnly, discard: disk.discard, cache }
    const set = descriptors.addSet(
      { kind: 'file', path: member.path, access: readOnly ? 'read' : 'read-write', direct: cache.direct },
      node.file,
    )
    const backing = depth === chain.length - 1 ? null : chainNodes(disk.name, depth + 1).format
    args.push(
      ...set.args,
      ...jsonOption('-blockdev', { driver: 'file', 'node-name': node.file, filename: set.path, ...shared }),
      ...jsonOption('-blockdev', {
        driver: member.format,
        'node-name': node.format,
        file: node.file,
        // Said even when there is none: otherwise QEMU follows what the file itself names.
        backing: member.format === 'qcow2' ? backing : undefined,
        ...shared,
      }),
    )
    nodes.unshift(node.format)
  }
  return { nodes, args }
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
