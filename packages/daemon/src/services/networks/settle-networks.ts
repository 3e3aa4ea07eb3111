/**
 * Networks after a restart of the daemon: those that were being created are undone, those that were being deleted are, what is started
 * is taken over as it is on the host, or made there after a boot, and what a stop left behind goes.
 */
import type { Ports } from '../../ports/ports.ts'
import type { NetworkRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { undoNetwork } from './create-network.ts'
import { finishNetworkDeletion } from './delete-network.ts'

/** Says in the rows, after a boot of the host, which networks are to be started. */
export function prepareNetworks({ store, bootId }: Ports): void {
  for (const network of store.networks.list())
    if (network.phase === 'ready' && network.bootId !== bootId)
      store.networks.update({ ...network, bootId, started: network.autostart })
}

/** Undoes, finishes and takes over. Only for who has the turn. */
export async function settleNetworks(context: Context): Promise<void> {
  const { ports, networks } = context
  const rows = ports.store.networks.list()
  if (rows.length === 0) return
  const present = new Set(await ports.networks.present())
  for (const network of rows) {
    try {
      await settleNetwork(network, { context, isPresent: present.has(network.id) })
    } catch (error) {
      if (network.phase === 'ready' && network.started) networks.noteFailure(network, error)
      else
        ports.log.error({ network: network.name, err: error }, 'a network that is left could not be removed')
    }
  }
}

async function settleNetwork(
  network: NetworkRecord,
  { context, isPresent }: { readonly context: Context; readonly isPresent: boolean },
): Promise<void> {
  const { networks } = context
  if (network.phase === 'creating') await undoNetwork(network, context)
  else if (network.phase === 'deleting') await finishNetworkDeletion(network, context)
  else if (network.started) await networks.raise(network)
  else if (isPresent) await networks.lower(network)
}
