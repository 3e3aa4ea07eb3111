/**
 * What a network is called on the host. All of it follows from the network's id, which is chance, so that a name fits into the 15
 * bytes that the kernel gives a link whatever the network is called, and two networks never share one.
 *
 * The MAC address is the mark by which a bridge is known as ours, or its group, where it is made around an uplink: the kernel sets both in
 * the moment in which it makes the link.
 */
import { createHash } from 'node:crypto'

const digitsInName = 10

/** The name of a network's bridge, 13 bytes. */
export function bridgeName(networkId: string): string {
  return `kvb${digestOf(`bridge ${networkId}`).slice(0, digitsInName)}`
}

/** The MAC address of a network's bridge: locally administered, unicast. */
export function bridgeMac(networkId: string): string {
  const digits = digestOf(`mac ${networkId}`)
  const pairs = [0, 2, 4, 6, 8].map((at) => digits.slice(at, at + 2))
  return ['02', ...pairs].join(':')
}

/** The group of links (IFLA_GROUP) that only a bridge made around an uplink is in: its mark, since its MAC address is the uplink's. */
export function bridgeGroup(networkId: string): string {
  return String(0x4000_0000 + (Number.parseInt(digestOf(`group ${networkId}`).slice(0, 8), 16) % 0x3000_0000))
}

/** The name of the tap of a VM's NIC, 13 bytes. */
export function tapName(vmId: string, nic: string): string {
  return `kvt${digestOf(`tap ${vmId} ${nic}`).slice(0, digitsInName)}`
}

/** The name of a network's table of nftables. */
export function tableName(networkId: string): string {
  return `kvasir_${digestOf(`table ${networkId}`).slice(0, digitsInName)}`
}

/** The comment that marks a table as a network's. */
export function tableComment(networkId: string): string {
  return `kvasir network ${networkId}`
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
