/**
 * Wires: the NICs of VMs that run, or are about to, as their networks treat them. Which network a NIC is on and what its MAC address is
 * were decided when the VM was booted; what the network does for it follows the spec as it is now.
 */
import type { ForwardSpec, NicSpec, VmState } from '@kvasir/contract'
import type { Hardware } from '../qemu/hardware.ts'
import { tapName } from './link-names.ts'
import { macOf, type NicOwner } from './mac-holders.ts'

/** A NIC on a network. */
export interface Wire {
  readonly vm: string
  readonly nic: string
  readonly network: string
  readonly tap: string
  readonly mac: string
  /** Its guest has not had it yet: it is being started, or the NIC is about to be plugged. */
  readonly comes?: true
  /** The IPv4 address that it is always given. */
  readonly address: string | undefined
  /** The address of IPv6 that it names. */
  readonly ipv6?: NicSpec['ipv6']
  /** The ports of the host that lead to it. */
  readonly forwards: readonly ForwardSpec[]
  /** It sends as nobody but itself. */
  readonly antiSpoof: boolean
  /** It and others that are isolated have nothing of each other. */
  readonly isolated: boolean
  /** How many bytes it may send and receive in a second. */
  readonly limits?: NicSpec['limits']
  /** On a network of mode sriov: the virtual function that it is, and whether its cable is in. */
  readonly vf?: { readonly vmId: string; readonly address: string; readonly link: NicSpec['link'] }
  /** The MTU that it names. */
  readonly mtu?: NicSpec['mtu']
  /** Its VLANs, where it names any (port-vlans.ts). */
  readonly vlan?: NicSpec['vlan']
  readonly trunk?: NicSpec['trunk']
}

/** A VM as far as wires go. */
export interface WiredVm extends NicOwner {
  readonly run?:
    | {
        readonly bootedSpec: { readonly nics: readonly NicSpec[] }
        readonly movingNics?: readonly string[] | undefined
        readonly bootedHardware?: Pick<Hardware, 'vfs'> | undefined
      }
    | undefined
  readonly life: { readonly state: VmState }
  readonly hardware?: Pick<Hardware, 'vfs'> | undefined
}

/** The NICs with which a VM runs or is being started, and those that are about to be plugged; none for one that is off. */
export function nicsInUse({ spec, run, life }: WiredVm): readonly NicSpec[] {
  const booted = run?.bootedSpec.nics ?? (life.state === 'starting' ? spec.nics : [])
  const isThere = ({ name }: NicSpec) => booted.some((nic) => nic.name === name)
  const comes = spec.nics.filter((nic) => run?.movingNics?.includes(nic.name) && !isThere(nic))
  const there = booted.map((nic) => {
    const now = spec.nics.find(({ name, network }) => name === nic.name && network === nic.network)
    // passt was told when it was started.
    return now && nic.network !== undefined
      ? {
          ...nic,
          forwards: now.forwards,
          antiSpoof: now.antiSpoof,
          isolated: now.isolated,
          limits: now.limits,
          link: now.link,
          vlan: now.vlan,
          trunk: now.trunk,
          ipv6: now.ipv6,
          ...(now.address === undefined ? {} : { address: now.address }),
        }
      : nic
  })
  return [...there, ...comes]
}

/** The wires of a VM. */
export function wiresOf(vm: WiredVm): readonly Wire[] {
  const isThere = ({ name }: NicSpec) => vm.run?.bootedSpec.nics.some((nic) => nic.name === name)
  return nicsInUse(vm).flatMap((nic) => {
    const wire = wireOf(vm, nic)
    return wire ? [isThere(nic) ? wire : { ...wire, comes: true as const }] : []
  })
}

/** Whether the network has to know of a NIC before its guest runs. */
export function needsNetworkFirst({ network, address, ipv6, forwards, ...rules }: NicSpec): boolean {
  const hasRules =
    rules.antiSpoof ||
    rules.isolated ||
    (rules.limits ?? rules.vlan ?? rules.trunk ?? rules.mtu) !== undefined
  return network !== undefined && ((address ?? ipv6) !== undefined || forwards.length > 0 || hasRules)
}

function wireOf(vm: WiredVm, nic: NicSpec): Wire | undefined {
  const { id, name } = vm
  const { network, address, ipv6, forwards, antiSpoof, isolated, limits, vlan, trunk, mtu } = nic
  if (network === undefined) return undefined
  const names = { vm: name, nic: nic.name, network, tap: tapName(id, nic.name), mac: macOf(id, nic) }
  const hardware = vm.run ? vm.run.bootedHardware : vm.hardware
  const vf = hardware?.vfs?.[nic.name]
  const lent = vf && { vf: { vmId: id, address: vf.address, link: nic.link } }
  return { ...names, address, ipv6, forwards, antiSpoof, isolated, limits, vlan, trunk, mtu, ...lent }
}
