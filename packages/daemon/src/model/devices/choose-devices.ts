/** Which devices of the host a VM gets at a start: those that its spec names, or the first that are free of those that it describes. */
import { type HostDevice, type HostDeviceSpec, KvasirError } from '@kvasir/contract'
import { busyOthers, type DevicesReading, noReset } from './describe-devices.ts'
import { whyTogether } from './why-together.ts'

/** What devices are chosen from. */
export interface DeviceOffer {
  readonly devices: readonly HostDevice[]
  readonly reading: Pick<DevicesReading, 'pci'>
}

/** A VM that is given devices. */
interface Taker {
  readonly name: string
  readonly hostDevices: readonly HostDeviceSpec[]
  /** What it has already, by name. */
  readonly kept?: Readonly<Record<string, string>>
}

/**
 * The address of each device by its name in the spec; those that are named by address come first, so that none of them is given away.
 * `bad-request`, `unsupported` or `in-use` where one cannot be had, with what to do.
 */
export function chooseDevices(vm: Taker, offer: DeviceOffer): Readonly<Record<string, string>> {
  const chosen = new Map(Object.entries(vm.kept ?? {}))
  const inOrder = vm.hostDevices.toSorted(
    (a, b) => Number(a.address === undefined) - Number(b.address === undefined) || (a.name < b.name ? -1 : 1),
  )
  for (const wanted of inOrder) chosen.set(wanted.name, chooseOne(vm, wanted, { offer, chosen }))
  for (const { name } of inOrder) {
    const address = chosen.get(name) ?? ''
    requireWholeGroup(vm, { name, address }, { offer, chosen })
  }
  return Object.fromEntries(inOrder.map(({ name }) => [name, chosen.get(name) ?? '']))
}

interface Choice {
  readonly offer: DeviceOffer
  readonly chosen: ReadonlyMap<string, string>
}

function chooseOne(vm: Taker, wanted: HostDeviceSpec, { offer, chosen }: Choice): string {
  const taken = new Set(chosen.values())
  let first: KvasirError | undefined
  for (const device of candidates(vm, wanted, offer)) {
    const refusal = refusalOf(vm, wanted, { device, isTaken: taken.has(device.address) })
    if (refusal === undefined) return device.address
    first ??= refusal
  }
  if (first === undefined || wanted.address !== undefined)
    throw first ?? missing(vm, wanted, 'does not exist')
  throw new KvasirError(
    'in-use',
    `No ${described(wanted)} is free for VM ${vm.name}. The first: ${first.message}`,
  )
}

function candidates(
  vm: Taker,
  wanted: HostDeviceSpec,
  { devices, reading }: DeviceOffer,
): readonly HostDevice[] {
  const functions = devices.filter(({ kind }) => kind === 'pci')
  if (wanted.vf !== undefined) return virtualFunctions(vm, wanted, { functions, reading })
  const found = functions.filter(({ address, vendorId, deviceId }) =>
    wanted.address === undefined ? `${vendorId}:${deviceId}` === wanted.model : address === wanted.address,
  )
  if (found.length === 0) throw missing(vm, wanted, 'does not exist on this host')
  return found
}

function virtualFunctions(
  vm: Taker,
  wanted: HostDeviceSpec,
  {
    functions,
    reading,
  }: { readonly functions: readonly HostDevice[]; readonly reading: DeviceOffer['reading'] },
): readonly HostDevice[] {
  const { vf = '' } = wanted
  const parent = functions.find(({ interfaces }) => interfaces.includes(vf))
  if (parent === undefined)
    throw missing(vm, wanted, `does not exist: no device of this host has the interface ${vf}`)
  const found = functions.filter(({ physicalFunction }) => physicalFunction === parent.address)
  if (found.length > 0) return found
  const most = reading.pci.find(({ address }) => address === parent.address)?.totalVfs
  if (most === undefined) throw missing(vm, wanted, `does not exist: ${parent.address} has no SR-IOV`)
  throw missing(
    vm,
    wanted,
    `does not exist yet; make some of the ${most}: echo 2 > /sys/class/net/${vf}/device/sriov_numvfs`,
  )
}

function missing(vm: Taker, wanted: HostDeviceSpec, what: string): KvasirError {
  return new KvasirError(
    'unsupported',
    `Host device ${wanted.name} of VM ${vm.name} (${described(wanted)}) ${what}, so the VM cannot start.`,
  )
}

function described({ address, vf, model }: HostDeviceSpec): string {
  if (address !== undefined) return address
  return vf === undefined ? `device ${model}` : `virtual function of ${vf}`
}

function refusalOf(
  vm: Taker,
  wanted: HostDeviceSpec,
  { device, isTaken }: { readonly device: HostDevice; readonly isTaken: boolean },
): KvasirError | undefined {
  const { address, what, usedBy, assignable, reason, resetMethods } = device
  const named = `${address} (${what})`
  if (isTaken)
    return new KvasirError('bad-request', `VM ${vm.name} names ${named} twice, so it cannot start.`)
  if (device.vm !== undefined && device.vm !== vm.name)
    return new KvasirError('in-use', `VM ${device.vm} has ${named}, so VM ${vm.name} cannot have it.`)
  if (!assignable)
    return new KvasirError('unsupported', `${named} cannot be given to VM ${vm.name}: ${reason}.`)
  if (resetMethods.length === 0 && !wanted.force)
    return new KvasirError('unsupported', `${named} is given to VM ${vm.name} only with force: ${noReset}.`, {
      details: { address },
    })
  if (usedBy.length > 0 && !wanted.force)
    return new KvasirError(
      'in-use',
      `${named} ${usedBy.join(' and ')}, so VM ${vm.name} gets it only with force.`,
      { details: { address, usedBy } },
    )
  return undefined
}

/** The kernel gives a group only when no driver of the host works with any of it. */
export function requireWholeGroup(
  vm: Taker,
  { name, address }: { readonly name: string; readonly address: string },
  { offer, chosen }: Choice,
): void {
  const device = offer.reading.pci.find((known) => known.address === address)
  if (device === undefined) return
  const own = new Set(chosen.values())
  const rival = offer.devices.find(
    (other) => other.iommuGroup === device.iommuGroup && other.vm !== undefined && other.vm !== vm.name,
  )
  if (device.iommuGroup !== undefined && rival !== undefined)
    throw new KvasirError(
      'in-use',
      `Host device ${name} of VM ${vm.name}, ${address}, shares IOMMU group ${device.iommuGroup} with ${rival.address}, which VM ${rival.vm} has.`,
    )
  const others = busyOthers(device, offer.reading).filter((other) => !own.has(other.address))
  if (others.length === 0) return
  const names = others.map((other) => `${other.address} (${other.className}, ${other.driver})`)
  throw new KvasirError(
    'in-use',
    `Host device ${name} of VM ${vm.name}, ${address}, shares IOMMU group ${device.iommuGroup} with ${names.join(', ')}, which the host works with: ${whyTogether(device, others)}. Give the VM these too, or take their drivers away.`,
    { details: { address, others: others.map((other) => other.address) } },
  )
}
