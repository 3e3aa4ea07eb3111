/** Deletes a network: its row says `deleting` first, so that who deletes it again, or the next daemon, goes on. */
import type { NetworkRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'

/** Stops a network and forgets it with its leases. Only for who has the turn. */
export async function deleteNetwork(network: NetworkRecord, context: Context): Promise<void> {
  const { store, failpoint } = context.ports
  await failpoint('network.delete.before-phase')
  const deleting: NetworkRecord = { ...network, phase: 'deleting', started: false }
  store.networks.update(deleting)
  try {
    await failpoint('network.delete.after-phase')
  } finally {
    await finishNetworkDeletion(deleting, context)
  }
}

/** Removes all that is left of a network whose phase is `deleting`. Safe to repeat. */
export async function finishNetworkDeletion(network: NetworkRecord, context: Context): Promise<void> {
  const { ports, networks } = context
  const { store, failpoint } = ports
  await networks.lower(network)
  await failpoint('network.delete.after-lower')
  await ports.networks.forget(network.id)
  store.transaction(() => {
    store.networks.remove(network.id)
    context.emit('network.deleted', network.name, { id: network.id })
  })
  networks.forget(network)
  await failpoint('network.delete.after-row')
}
