/** The failpoints behind the parts of a network, as they are made one after another. */
import type { NetworkPart } from '../../ports/networks.ts'

/** The point that is reached when a part is there. */
export const pointAfter = {
  rules: 'network.raise.after-rules',
  journal: 'network.raise.after-journal',
  uplink: 'network.raise.after-uplink',
  bridge: 'network.raise.after-bridge',
  forwarding: 'network.raise.after-forwarding',
  dnsmasq: 'network.raise.after-dnsmasq',
} as const satisfies Record<NetworkPart, string>
