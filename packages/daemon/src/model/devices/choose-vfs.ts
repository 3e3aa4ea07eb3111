/** Which virtual functions (VFs) the NICs of a VM get at a start, or while it runs: of the physical function (PF) that has most of them free, the first. */
import { type HostDevice, KvasirError } from '@kvasir/contract'
import { type DeviceOffer, requireWholeGroup } from './choose-devices.ts'

/** A NIC that is to be a VF. */
export interface VfWish {
  readonly nic: string
  readonly network: string
  readonly pfs: readonly string[]
}

/** The VF that a NIC is, and the interface of the PF that it is of. */
export interface ChosenVf {
  readonly address: string
  readonly pf: string
}

export interface VfChoice {
  readonly offer: DeviceOffer
  /** Devices that the VM gets, or has, besides. */
  readonly taken: Readonly<Record<string, string>>
  /** What follows where there is none, as a clause. */
  readonly otherwise?: string | undefined
}

/** The most VFs whose holders a refusal names. */
const mostNamed = 8

/** The VF of each NIC. `in-use` with who has them, `unsupported` with why none can be given. */
export function chooseVfs(
  vm: string,
  wishes: readonly VfWish[],
  { offer, taken, otherwise = 'the VM cannot start' }: VfChoice,
): Readonly<Record<string, ChosenVf>> {
  const chosen = new Map(Object.entries(taken))
  const given: Record<string, ChosenVf> = {}
  for (const wish of wishes.toSorted((a, b) => (a.nic < b.nic ? -1 : 1))) {
    const own = new Set(chosen.values())
    const pools = wish.pfs.map((pf) => {
      const vfs = vfsOf(pf, offer).map((device) => ({ device, why: whyNot(device, vm, own) }))
      return { pf, vfs, free: vfs.filter(({ why }) => why === undefined) }
    })
    const [best] = pools.toSorted((a, b) => b.free.length - a.free.length)
    const device = best?.free[0]?.device
    if (best === undefined || device === undefined) throw noneFree(vm, wish, { pools, otherwise })
    given[wish.nic] = { address: device.address, pf: best.pf }
    chosen.set(`NIC ${wish.nic}`, device.address)
  }
  for (const [nic, { address }] of Object.entries(given))
    requireWholeGroup({ name: vm, hostDevices: [] }, { name: `of NIC ${nic}`, address }, { offer, chosen })
  return given
}

function vfsOf(pf: string, { devices }: DeviceOffer): readonly HostDevice[] {
  const parent = devices.find(({ kind, interfaces }) => kind === 'pci' && interfaces.includes(pf))
  if (parent === undefined) return []
  return devices.filter(({ physicalFunction }) => physicalFunction === parent.address)
}

/** Why a VF cannot be had, as a clause with it as the subject. */
function whyNot(
  { address, vm, usedBy, assignable, reason }: HostDevice,
  name: string,
  own: ReadonlySet<string>,
): { readonly isUsed: boolean; readonly words: string } | undefined {
  if (own.has(address)) return { isUsed: true, words: 'is another device of the VM' }
  if (vm !== undefined && vm !== name) return { isUsed: true, words: `VM ${vm} has it` }
  if (!assignable) return { isUsed: false, words: reason }
  return usedBy.length > 0 ? { isUsed: true, words: usedBy.join(' and ') } : undefined
}

function noneFree(
  vm: string,
  { nic, network, pfs }: VfWish,
  {
    pools,
    otherwise,
  }: {
    readonly pools: readonly {
      readonly vfs: readonly { readonly device: HostDevice; readonly why: ReturnType<typeof whyNot> }[]
    }[]
    readonly otherwise: string
  },
): KvasirError {
  const all = pools.flatMap(({ vfs }) => vfs)
  const reasons = all.map(({ device, why }) => `${device.address}: ${why?.words}`)
  const rest = reasons.length - mostNamed
  const words = [...reasons.slice(0, mostNamed), ...(rest > 0 ? [`and ${rest} more`] : [])].join('; ')
  const what = `No virtual function of network ${network} is free for NIC ${nic} of VM ${vm}`
  const details = { network, nic, vfs: all.map(({ device }) => device.address) }
  if (all.length === 0)
    return new KvasirError('unsupported', `${what}: ${pfs.join(', ')} has none now, so ${otherwise}.`, {
      details,
    })
  const isUsed = all.some(({ why }) => why?.isUsed)
  const said = isUsed ? words : (all[0]?.why?.words ?? '') // One reason that all of them have.
  return new KvasirError(isUsed ? 'in-use' : 'unsupported', `${what} (${said}), so ${otherwise}.`, {
    details,
  })
}
