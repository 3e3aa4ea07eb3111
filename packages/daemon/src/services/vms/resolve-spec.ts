/**
 * From the spec as asked to the spec as kept: names of images become ids, a disk image gets its root disk, disks get volumes, NICs
 * get MAC addresses. What an earlier revision was given is kept.
 */
import type { Image, VmSpec } from '@kvasir/contract'
import { isCdrom, KvasirError } from '@kvasir/contract'
import { freshMac } from '../../model/network/mac-holders.ts'
import type { Ports } from '../../ports/ports.ts'
import { findImage } from '../images/find-image.ts'
import { requireNetworks } from '../networks/nic-networks.ts'
import { giveAddresses, requireOwnNics, takenMacs } from '../networks/own-nics.ts'

export interface ResolvedSpec {
  readonly spec: VmSpec
  readonly image: Image | undefined
}

/** Resolves what a spec refers to. `image-not-found`, or `bad-request` where the parts do not fit together. */
export async function resolveSpec(
  wanted: VmSpec,
  vm: { readonly uuid: string; readonly name: string },
  ports: Ports,
): Promise<ResolvedSpec> {
  const image = wanted.image === undefined ? undefined : await findImage(wanted.image, ports)
  const disks = await Promise.all(
    withRootDisk(wanted, image).map(async (disk) => {
      if (disk.image === undefined) return disk
      const source = await sourceOf(disk, disk.image, ports)
      if (!source) return disk
      if (!source.disk)
        throw new KvasirError(
          'bad-request',
          `Image ${source.name} has no disk, so disk ${disk.name} cannot be made from it.`,
        )
      return { ...disk, image: source.id }
    }),
  )
  requireNetworks(wanted, ports)
  const taken = wanted.nics.some(({ mac }) => mac === undefined)
    ? takenMacs(vm.uuid, ports)
    : new Set<string>()
  const addressed = wanted.nics.map((nic) => ({ ...nic, mac: nic.mac ?? freshMac(vm.uuid, nic.name, taken) }))
  const nics = await giveAddresses({ id: vm.uuid, name: vm.name }, addressed, ports)
  requireOwnNics({ id: vm.uuid, name: vm.name }, { nics }, ports)
  const spec: VmSpec = { ...wanted, ...(image ? { image: image.id } : {}), disks, nics }
  requireBootable(spec, image, vm.name)
  return { spec, image }
}

/** The image that a disk is made from. A disk that has its volume already may have outlived it, as the full copy of a clone. */
async function sourceOf(
  disk: VmSpec['disks'][number],
  image: string,
  ports: Ports,
): Promise<Image | undefined> {
  try {
    return await findImage(image, ports)
  } catch (error) {
    if (disk.volume !== undefined && error instanceof KvasirError && error.code === 'image-not-found')
      return undefined
    throw error
  }
}

function withRootDisk(spec: VmSpec, image: Image | undefined): VmSpec['disks'] {
  if (image?.boot !== 'disk') return spec.disks
  if (spec.disks.some((disk) => disk.image !== undefined || disk.name === 'root')) {
    return spec.disks.map((disk) =>
      disk.name === 'root' && disk.image === undefined && disk.volume === undefined
        ? { ...disk, image: image.id }
        : disk,
    )
  }
  const root: VmSpec['disks'][number] = {
    name: 'root',
    bus: 'virtio-blk',
    image: image.id,
    pool: 'default',
    readOnly: false,
    discard: 'unmap',
    bootOrder: 1,
  }
  return [root, ...spec.disks]
}

function requireBootable(spec: VmSpec, image: Image | undefined, name: string): void {
  const bootsKernel = spec.boot.kernel !== undefined || image?.boot === 'kernel'
  if (spec.machine.type === 'microvm' && !bootsKernel)
    throw new KvasirError(
      'bad-request',
      `VM ${name} is a microvm, which boots a kernel directly, but neither its spec nor its image has one.`,
    )
  if (spec.boot.cmdline !== undefined && !bootsKernel)
    throw new KvasirError(
      'bad-request',
      `VM ${name} has boot.cmdline but boots no kernel directly, so nothing would read it.`,
    )
  for (const disk of spec.disks) {
    if (isCdrom(disk)) continue
    if (disk.volume === undefined && disk.image === undefined && disk.size === undefined)
      throw new KvasirError(
        'bad-request',
        `Disk ${disk.name} of VM ${name} needs a volume, an image or a size.`,
      )
  }
}
