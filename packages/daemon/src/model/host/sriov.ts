/** Devices that can have virtual functions, and how many of these are still to be had. */
import type { HostSriov } from '@kvasir/contract'

/** What is known of a PCI function and its VFs. */
export interface SriovFunction {
  readonly address: string
  readonly driver?: string
  readonly interfaces: readonly string[]
  readonly isUp: boolean
  readonly totalVfs?: number
  readonly vfs: readonly string[]
}

/** The devices with SR-IOV. A VF is used when a VM's driver has it (vfio), or when it is an interface of the host that is up. */
export function describeSriov(devices: readonly SriovFunction[]): HostSriov[] {
  const byAddress = new Map(devices.map((device) => [device.address, device]))
  return devices.flatMap(({ address, driver, interfaces, totalVfs, vfs }) => {
    if (totalVfs === undefined) return []
    const described = vfs.map((vf) => {
      const known = byAddress.get(vf)
      const used = known !== undefined && (known.driver?.includes('vfio') === true || known.isUp)
      return { address: vf, ...(known?.driver === undefined ? {} : { driver: known.driver }), used }
    })
    const used = described.filter((vf) => vf.used).length
    return [
      {
        address,
        ...(driver === undefined ? {} : { driver }),
        interfaces: [...interfaces],
        totalVfs,
        vfs: described,
        used,
        free: Math.max(0, totalVfs - used),
      },
    ]
  })
}
