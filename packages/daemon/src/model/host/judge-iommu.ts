/**
 * Whether the host's IOMMU protects it from devices of VMs, which kernel option is missing if not, and which groups can be assigned.
 *
 * The kernel gives a VM whole groups only: devices between which nothing isolates (no ACS) share one. Facts: the kernel's
 * Documentation/driver-api/vfio.rst and admin-guide/kernel-parameters.txt.
 */
import type { HostIommu } from '@kvasir/contract'

/** What files say of IOMMUs. */
export interface IommuFiles {
  readonly units: readonly string[]
  readonly tables?: readonly string[]
  readonly groups: readonly {
    readonly group: number
    readonly type?: string
    readonly name?: string
    readonly devices: readonly string[]
    readonly hasDirectRegion: boolean
  }[]
}

/** What is known of a PCI function. */
export interface PciFunction {
  readonly address: string
  readonly classCode: string
  readonly className: string
}

export interface IommuSurroundings {
  readonly files: IommuFiles
  readonly kernelOptions: readonly (readonly [name: string, value: string])[]
  readonly pciDevices: readonly PciFunction[]
}

/** The IOMMU of a host. */
export function judgeIommu(host: IommuSurroundings): HostIommu {
  // Groups without an IOMMU exist once a device was bound without one.
  const groups = host.files.groups.filter(({ name }) => name === undefined || !name.includes('noiommu'))
  const byAddress = new Map(host.pciDevices.map((device) => [device.address, device]))
  const kind = kindOf(host.files)
  return {
    ...stateOf(host, groups.length),
    ...(kind === undefined ? {} : { kind }),
    groups: groups.map(({ group, type, devices, hasDirectRegion }) => ({
      group,
      ...(type === undefined ? {} : { type }),
      devices: [...devices],
      ...judgeGroup(
        devices.flatMap((address) => byAddress.get(address) ?? []),
        hasDirectRegion,
      ),
    })),
  }
}

function kindOf({ units, tables = [] }: IommuFiles): string | undefined {
  const has = (unit: RegExp, table: string) => units.some((name) => unit.test(name)) || tables.includes(table)
  if (has(/^dmar/, 'DMAR')) return 'VT-d'
  if (has(/^ivhd/, 'IVRS')) return 'AMD-Vi'
  if (units.some((name) => name.startsWith('smmu'))) return 'SMMU'
  return has(/^virtio|^viommu/, 'VIOT') ? 'virtio-iommu' : undefined
}

function stateOf(
  { files, kernelOptions }: IommuSurroundings,
  groupCount: number,
): Pick<HostIommu, 'state' | 'reason' | 'remedy'> {
  const option = (name: string) => kernelOptions.findLast(([known]) => known === name)?.[1]
  if (groupCount > 0) {
    const count = groupCount === 1 ? '1 group' : `${groupCount} groups`
    return { state: 'on', reason: `the kernel translates for devices and made ${count}` }
  }
  const turnedOff = [
    ['iommu', 'off'],
    ['intel_iommu', 'off'],
    ['amd_iommu', 'off'],
  ].find(
    ([name = '', value]) =>
      option(name)
        ?.split(',')
        .includes(value ?? '') === true,
  )
  const { tables, units } = files
  if (tables === undefined && units.length === 0)
    return {
      state: 'absent',
      reason: 'no IOMMU is to be seen, and no tables of the firmware either',
      remedy: 'Look whether the firmware setup has VT-d, AMD-Vi or SMMU.',
    }
  if (tables?.length === 0 && units.length === 0)
    return {
      state: 'absent',
      reason: 'the firmware announces no IOMMU (there is neither DMAR, IVRS, IORT nor VIOT)',
      remedy:
        'Enable VT-d (Intel) or IOMMU (AMD) in the firmware setup; a virtual machine needs one from its hypervisor.',
    }
  if (turnedOff !== undefined)
    return {
      state: 'off',
      reason: `the kernel was booted with ${turnedOff.join('=')}`,
      remedy: `Remove ${turnedOff.join('=')} from the kernel's options and boot again.`,
    }
  if (kindOf(files) === 'VT-d')
    return {
      state: 'off',
      reason:
        'the firmware announces VT-d and the kernel does not use it: the option intel_iommu=on is missing',
      remedy:
        "Add intel_iommu=on iommu=pt to the kernel's options (GRUB_CMDLINE_LINUX in /etc/default/grub) and boot again.",
    }
  return {
    state: 'off',
    reason: 'the firmware announces an IOMMU and the kernel made no groups',
    remedy: 'Look for AMD-Vi, SMMU or iommu in dmesg; the kernel may lack the driver.',
  }
}

/** Base class 06 is bridges, of which 0604 leads to other buses. */
const isBusBridge = ({ classCode }: PciFunction) => classCode.startsWith('0604')

function judgeGroup(
  devices: readonly PciFunction[],
  hasDirectRegion: boolean,
): Pick<HostIommu['groups'][number], 'assignable' | 'reason'> {
  const ends = devices.filter((device) => !isBusBridge(device))
  const [first] = ends
  if (first === undefined)
    return {
      assignable: false,
      reason: devices.length === 0 ? 'no PCI device is in it' : 'only bridges are in it',
    }
  const others = ends.filter((device) => slotOf(device) !== slotOf(first))
  if (others.length > 0) {
    const names = ends.map(({ address, className }) => `${address} (${className})`)
    return {
      assignable: false,
      reason: `nothing isolates its devices from each other (no ACS between them): ${listed(names)}`,
    }
  }
  if (hasDirectRegion)
    return {
      assignable: false,
      reason: 'the firmware keeps memory mapped for its device (RMRR), so the kernel does not give it away',
    }
  if (first.classCode.startsWith('06'))
    return { assignable: false, reason: `a ${first.className} stays with the host` }
  const behind = devices.length > ends.length ? ', behind a bridge that stays with the host' : ''
  return {
    assignable: true,
    reason:
      ends.length === 1
        ? `one device alone${behind}`
        : `${ends.length} functions of one device, which go together${behind}`,
  }
}

const maxListed = 6

function listed(names: readonly string[]): string {
  const rest = names.length - maxListed
  return `${names.slice(0, maxListed).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`
}

/** Domain, bus and device: what is before the dot. */
function slotOf({ address }: PciFunction): string {
  return address.split('.')[0] ?? address
}
