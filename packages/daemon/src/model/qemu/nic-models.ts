/**
 * What a NIC can be for its guest besides virtio-net: cards that QEMU imitates, for guests that have drivers for those.
 *
 * e1000e and igb are PCIe and come behind a root port, as virtio-net does. e1000 and rtl8139 are conventional PCI and want I/O ports, which
 * no root port has a window for (pci-bus.ts), so they sit on the root bus. None has more than one queue here, and no kernel of the host
 * serves one (vhost-net is for virtio). QEMU: hw/net/e1000.c, rtl8139.c, e1000e.c, docs/system/devices/igb.rst.
 */
import {
  conventionalNicModels,
  KvasirError,
  type NicModel,
  type NicSpec,
  type VmSpec,
} from '@kvasir/contract'
import { deviceId } from './ids.ts'
import type { QemuCapabilities } from './qemu-capabilities.ts'
import { isAtLeast } from './version.ts'

type Nic = Pick<NicSpec, 'model'>

/** The oldest QEMU that has a model, where that is not the oldest that plans are made for. */
const since: Readonly<Partial<Record<NicModel, readonly [major: number, minor: number]>>> = { igb: [8, 0] }

/** What a NIC is, said or not. */
export function modelOf({ model = 'virtio' }: Nic): NicModel {
  return model
}

/** Whether a NIC is virtio-net. */
export function isVirtio(nic: Nic): boolean {
  return modelOf(nic) === 'virtio'
}

/** Whether a NIC sits on the root bus. */
export function isConventional(nic: Nic): boolean {
  return conventionalNicModels.some((model) => model === nic.model)
}

/** The id under which the place of a NIC is kept. */
export function nicSlot(nic: Pick<NicSpec, 'name' | 'model'>): string {
  return deviceId(isConventional(nic) ? 'card' : 'nic', nic.name)
}

/** `unsupported` for a model that this machine or this QEMU has not. */
export function requireNicModels(
  { nics, machine }: Pick<VmSpec, 'nics' | 'machine'>,
  qemu: QemuCapabilities,
): void {
  for (const nic of nics) {
    const model = modelOf(nic)
    const version = since[model]
    if (model !== 'virtio' && machine.type === 'microvm')
      throw refusal(
        nic.name,
        `A microvm has NICs of model virtio alone, so NIC ${nic.name} cannot be an ${model}.`,
      )
    if (version && !isAtLeast(qemu, version))
      throw refusal(
        nic.name,
        `QEMU has the NIC model ${model} since ${version.join('.')} and is ${qemu.version.join('.')} on this host, so NIC ${nic.name} cannot be one.`,
      )
  }
}

function refusal(nic: string, message: string): KvasirError {
  return new KvasirError('unsupported', message, { details: { field: `nics.${nic}.model` } })
}
