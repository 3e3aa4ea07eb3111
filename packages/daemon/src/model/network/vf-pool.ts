/**
 * Pools of virtual functions (VFs): which physical functions (PFs) a network can have, how many VFs are made of one, and who uses them.
 *
 * The kernel makes VFs of a PF that has none, and takes all of them away at once (Documentation/PCI/pci-iov-howto.rst); so a number that
 * is not 0 stays what it is, whoever made it.
 */

/** A VF as the host has it. */
export interface HostVf {
  readonly address: string
  readonly driver?: string | undefined
  /** The interfaces that the host sees of it. */
  readonly interfaces: readonly { readonly link: string; readonly isUp: boolean }[]
}

/** A device with SR-IOV that is an interface of the host. */
export interface HostPf {
  readonly pf: string
  readonly address: string
  readonly isUp: boolean
  readonly totalVfs: number
  readonly vfs: readonly HostVf[]
}

/** How many VFs are made where nobody says: enough for most, and a moment's work for every driver. */
const usualVfs = 8

/** What a PF of a network takes. */
export type PoolPlan =
  | { readonly kind: 'keep' }
  | { readonly kind: 'make'; readonly count: number }
  | { readonly kind: 'refuse'; readonly why: string }

/** What is to be done for a network to have a PF's VFs. `why` is a clause. */
export function planPool(link: string, found: HostPf | undefined, wanted: number | undefined): PoolPlan {
  if (found === undefined) return refuse(`the host has no interface ${link} of a device with SR-IOV`)
  const { vfs, totalVfs, isUp } = found
  if (!isUp) return refuse(`${link} is down, and so are its virtual functions; ip link set ${link} up`)
  if (wanted !== undefined && wanted > totalVfs)
    return refuse(`${link} can have ${totalVfs} virtual functions at most, and ${wanted} are asked for`)
  if (vfs.length === 0) return { kind: 'make', count: wanted ?? Math.min(totalVfs, usualVfs) }
  if (wanted === undefined || vfs.length >= wanted) return { kind: 'keep' }
  const used = vfs.flatMap((vf) => useOf(vf) ?? [])
  const who = used.length > 0 ? `, of which are used: ${used.join('; ')}` : ''
  return refuse(
    `${link} has ${vfs.length} virtual functions${who}; ${wanted} are asked for, and the kernel makes others only of a PF that has none`,
  )
}

/** Who uses a VF, in words that begin with it; undefined when nobody does. */
export function useOf({ address, driver, interfaces }: HostVf): string | undefined {
  if (driver === undefined) return undefined
  if (driver.includes('vfio')) return `${address} is with ${driver}, for a VM or another program`
  const up = interfaces.find(({ isUp }) => isUp)
  if (up) return `${address} is an interface that is up (${up.link})`
  return interfaces.length === 0 ? `${address} is with ${driver}, and no interface of it is here` : undefined
}

function refuse(why: string): PoolPlan {
  return { kind: 'refuse', why }
}
