/** Whether the host has come to a network of the same addresses since a network was there last. */
import { KvasirError } from '@kvasir/contract'
import { parseSubnet } from '../../model/network/address.ts'
import { collisionOf, takenSubnets } from '../../model/network/collisions.ts'
import type { Ports } from '../../ports/ports.ts'
import type { NetworkRecord } from '../../ports/store.ts'

/** `network-refused` when a subnet of a network that is not there now collides. One that is there is left alone: guests are on it. */
export async function requireFree(network: NetworkRecord, { networks }: Ports): Promise<void> {
  const host = await networks.survey()
  if (host.links.some(({ name }) => name === network.bridge)) return
  const taken = takenSubnets(host, [])
  for (const text of [network.ipv4?.subnet, network.ipv6?.subnet]) {
    const subnet = text === undefined ? undefined : parseSubnet(text)
    const holder = subnet && collisionOf(subnet, taken)
    if (holder === undefined) continue
    throw new KvasirError(
      'network-refused',
      `The subnet ${text} of network ${network.name} collides with ${holder}, so the network is not started.`,
      { details: { network: network.name } },
    )
  }
}
