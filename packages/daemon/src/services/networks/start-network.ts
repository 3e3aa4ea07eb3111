/** Starts and stops networks: the row says what is meant before anything is done on the host, and the next daemon goes by it. */
import type { Network } from '@kvasir/contract'
import type { NetworkRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { wiresOn } from './nic-networks.ts'
import { showNetwork } from './show-network.ts'

/** Starts a network, or makes again what it lacks. `network-refused` when the host has its subnet meanwhile. Only for who has the turn. */
export async function startNetwork(network: NetworkRecord, context: Context): Promise<Network> {
  const { ports, networks } = context
  const { store, failpoint } = ports
  await failpoint('network.start.before-row')
  const started: NetworkRecord = { ...(await asHostHasIt(network, context)), started: true }
  store.networks.update(started)
  await using undo = new AsyncDisposableStack()
  if (!network.started) undo.defer(() => takeDown(network, context))
  await failpoint('network.start.after-row')
  await networks.raise(started)
  await failpoint('network.start.after-raise')
  undo.move()
  return showNetwork(started, context)
}

/** A bridge that is somebody else's, or an uplink, may have another MTU than before: a port with a smaller one would change the bridge's. */
async function asHostHasIt(network: NetworkRecord, { ports, drivers }: Context): Promise<NetworkRecord> {
  if (network.mode !== 'bridge' || wiresOn(network.name, drivers).length > 0) return network
  const { links } = await ports.networks.survey()
  const from = network.uplink?.link ?? network.bridge
  const mtu = links.find(({ name }) => name === from)?.mtu
  return mtu === undefined ? network : { ...network, mtu }
}

/** Stops a network. Only for who has the turn. */
export async function stopNetwork(network: NetworkRecord, context: Context): Promise<Network> {
  const { store, failpoint } = context.ports
  await failpoint('network.stop.before-row')
  const stopped: NetworkRecord = { ...network, started: false }
  store.networks.update(stopped)
  try {
    await failpoint('network.stop.after-row')
  } finally {
    await takeDown(stopped, context)
  }
  await failpoint('network.stop.after-lower')
  return showNetwork(stopped, context)
}

async function takeDown(stopped: NetworkRecord, { ports, networks }: Context): Promise<void> {
  ports.store.networks.update(stopped)
  await networks.lower(stopped)
}
