/**
 * NICs on networks of mode sriov: virtual functions of the host's NICs, handed over by VFIO (host-devices.ts). Each sits where another NIC of
 * its name would, so the guest knows it by the same name; its MAC address is set on the host, by the physical function.
 */
import { KvasirError, type NicSpec } from '@kvasir/contract'
import { settingsOf } from '../network/vf-settings.ts'
import { macFor } from '../vm/mac.ts'
import type { BuildContext } from './build-context.ts'
import { type EmulatorPlan, hostDeviceDirectory, type VfPlan } from './emulator-plan.ts'
import type { HardwareInput } from './hardware.ts'
import type { HostDevicePlan } from './host-devices.ts'
import { deviceId } from './ids.ts'
import { lockableBytes } from './locked-memory.ts'
import { jsonOption } from './options.ts'
import { type PciBus, pciBus } from './pci-bus.ts'

/** Whether a NIC is a virtual function. */
export function isVf({ networks }: Pick<HardwareInput, 'networks'>, { network = '' }: NicSpec): boolean {
  return networks?.[network]?.sriov !== undefined
}

/** The arguments for one. Its option ROM is left out, since nothing boots from the network. */
export function vfArgs({ input, bus }: BuildContext, name: string): readonly string[] {
  return jsonOption('-device', deviceOf(planOf(input, name), bus))
}

/** One as it is plugged. */
export function planVf(input: VfInput, name: string): HostDevicePlan {
  const vf = planOf(input, name)
  return {
    vm: input.name,
    name,
    address: vf.address,
    device: deviceOf(vf, pciBus(input)),
    vf,
    lockableBytes: lockableBytes(input, { hasDevices: true }),
  }
}

/** What a NIC that is a virtual function is planned from. */
export type VfInput = Pick<HardwareInput, 'name' | 'uuid' | 'spec' | 'hardware' | 'networks'>

function planOf(input: VfInput, name: string): VfPlan {
  const plan = vfPlans(input).find(({ nic }) => nic === name)
  if (!plan) throw new TypeError(`NIC ${name} is no virtual function.`)
  return plan
}

function deviceOf({ nic, address }: VfPlan, bus: PciBus) {
  const id = deviceId('nic', nic)
  return {
    driver: 'vfio-pci',
    id,
    sysfsdev: `${hostDeviceDirectory}/${address}`,
    ...bus.place(id),
    rombar: 0,
  }
}

/** What a plan says of them. */
export function vfsPlan(input: HardwareInput): Pick<EmulatorPlan, 'vfs'> {
  const vfs = vfPlans(input)
  return vfs.length === 0 ? {} : { vfs }
}

/** All of them, in the order of their names. */
export function vfPlans(input: VfInput): readonly VfPlan[] {
  const { name, uuid, spec, hardware, networks } = input
  const nics = spec.nics.filter((nic) => isVf(input, nic)).sort((a, b) => (a.name < b.name ? -1 : 1))
  return nics.flatMap((nic) => {
    const sriov = networks?.[nic.network ?? '']?.sriov
    const address = hardware.vfs?.[nic.name]?.address
    if (address === undefined)
      throw new KvasirError(
        'internal',
        `No virtual function was chosen for NIC ${nic.name} of VM ${name}, so it cannot start.`,
      )
    const mac = nic.mac ?? macFor(uuid, nic.name)
    return sriov === undefined
      ? []
      : [{ nic: nic.name, address, settings: settingsOf(sriov, { ...nic, mac }) }]
  })
}
