/**
 * Why devices share a group of the IOMMU: nothing between them keeps their requests apart.
 *
 * The kernel puts what could reach each other without the IOMMU into one group (drivers/iommu/iommu.c, pci_device_group): functions of one
 * device, and all below a bridge, unless Access Control Services (ACS) of each on the way forbid it. Which one lacks it, is not to be seen in
 * /sys; below or at which bridge it is, is.
 */

/** A function, and the bridges between it and the host, the nearest first. */
interface Placed {
  readonly address: string
  readonly bridges?: readonly string[]
}

/** A clause about a function and what shares its group. */
export function whyTogether(device: Placed, others: readonly Placed[]): string {
  if (others.every((other) => slotOf(other) === slotOf(device)))
    return `they are functions of one device, ${slotOf(device)}, which has no ACS between them`
  const shared = device.bridges?.find((bridge) => others.every((other) => other.bridges?.includes(bridge)))
  return shared === undefined
    ? 'the way from them to the host has no ACS'
    : `the way from them to the host has no ACS at the bridge ${shared} or below`
}

/** Of a function, the device that it is of: `0000:03:00`. */
export function slotOf({ address }: Pick<Placed, 'address'>): string {
  return address.slice(0, address.lastIndexOf('.'))
}
