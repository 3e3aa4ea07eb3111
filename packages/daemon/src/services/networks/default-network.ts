/** The network that a host has without anybody asking for one: nat, on a private subnet that collides with nothing. */
import { newNetwork } from '@kvasir/contract'
import type { Context } from '../context.ts'
import { createNetwork } from './create-network.ts'

const name = 'default'

/** Makes it, unless there is a network of its name. Waits until those that are there have been brought in order. */
export async function makeDefaultNetwork(context: Context): Promise<void> {
  const { networks, ports } = context
  await networks.begun
  await networks.inTurn(async () => {
    if (ports.store.networks.findByName(name)) return
    await createNetwork(newNetwork.parse({ name }), context, () => {})
  })
}
