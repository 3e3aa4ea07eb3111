/**
 * The MTU of a NIC: what its guest is told, and its tap has. It is that of its network, or less.
 *
 * A bridge takes the smallest MTU of its ports, unless its own was set (br_mtu_auto_adjust of the kernel's net/bridge): a bridge of ours is
 * told to keep its own before such a tap is put on it. Of a bridge that is somebody else's nothing is set, so there the tap has the MTU that the
 * bridge has at that moment, and the guest alone knows the smaller one.
 */
import type { NetworkFinding, NicSpec } from '@kvasir/contract'
import type { NetworkSpec } from './network-record.ts'
import type { Wire } from './wires.ts'

/** The MTUs of the tap of a NIC, of its network, and of its guest. */
export interface NicMtus {
  readonly mtu: number
  readonly networkMtu: number
  readonly guestMtu: number
}

/** Those of a NIC; `isOthers`: somebody else made the bridge of its network. */
export function nicMtus(
  { mtu: networkMtu, isOthers = false }: { readonly mtu: number; readonly isOthers?: boolean },
  nic: Pick<NicSpec, 'mtu'>,
): NicMtus {
  const guestMtu = nic.mtu ?? networkMtu
  return { mtu: isOthers ? networkMtu : guestMtu, networkMtu, guestMtu }
}

/** Whether guests of a network are on a bridge that somebody else made. */
export function isOthersBridge({ mode, uplink }: Pick<NetworkSpec, 'mode' | 'uplink'>): boolean {
  return mode === 'bridge' && uplink === undefined
}

/** NICs that were told of larger packets than a bridge which somebody else made passes on now. */
export function mtuFindings(
  network: Pick<NetworkSpec, 'mode' | 'uplink' | 'mtu' | 'bridge'>,
  wires: readonly Pick<Wire, 'vm' | 'nic' | 'mtu'>[],
  bridgeMtu: number | undefined,
): readonly NetworkFinding[] {
  if (bridgeMtu === undefined || !isOthersBridge(network)) return []
  return wires.flatMap(({ vm, nic, mtu = network.mtu }) =>
    mtu <= bridgeMtu
      ? []
      : [
          {
            thing: 'bridge',
            detail: `The bridge ${network.bridge} has an MTU of ${bridgeMtu} now, and the guest of NIC ${nic} of VM ${vm} was told ${mtu}, so what it sends in larger packets is lost; give the bridge that MTU back, or stop and start the network while no VM runs on it.`,
          },
        ],
  )
}

/** What ip(8) is told before a tap comes to a bridge with another MTU than it has; setting an MTU to what it is changes nothing. */
export function mtuLines(
  network: Pick<NetworkSpec, 'mode' | 'uplink' | 'mtu' | 'bridge'>,
  { tap, mtu: wanted }: Pick<Wire, 'tap' | 'mtu'>,
  bridgeMtu = network.mtu,
): readonly string[] {
  if (isOthersBridge(network)) return [`link set dev ${tap} mtu ${bridgeMtu}`]
  if (wanted === undefined) return []
  const { mtu, networkMtu } = nicMtus({ mtu: network.mtu }, { mtu: wanted })
  const kept = [networkMtu + 1, networkMtu].map((each) => `link set dev ${network.bridge} mtu ${each}`)
  return [...(mtu < networkMtu ? kept : []), `link set dev ${tap} mtu ${mtu}`]
}
