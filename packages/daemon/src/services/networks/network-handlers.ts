/** Everything under `/v1/networks`. */
import { KvasirError } from '@kvasir/contract'
import type { NetworkRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import type { Handlers } from '../handlers.ts'
import { changeNetwork, planNetwork } from './change-network.ts'
import { createNetwork } from './create-network.ts'
import { deleteNetwork, finishNetworkDeletion } from './delete-network.ts'
import { droppedByOthers } from './dropped-by-others.ts'
import { requireUnused } from './nic-networks.ts'
import { requireNetwork, showNetwork } from './show-network.ts'
import { startNetwork, stopNetwork } from './start-network.ts'

type NetworkHandlerIds =
  | 'listNetworks'
  | 'getNetwork'
  | 'createNetwork'
  | 'changeNetwork'
  | 'planNetwork'
  | 'startNetwork'
  | 'stopNetwork'
  | 'deleteNetwork'
  | 'listLeases'

/** The handlers of networks. */
export function createNetworkHandlers(context: Context): Pick<Handlers, NetworkHandlerIds> {
  const { ports, networks } = context
  const { store } = ports
  return {
    async listNetworks() {
      await networks.begun
      const made = store.networks.list().filter(({ phase }) => phase !== 'creating')
      return made.map((network) => showNetwork(network, context))
    },
    async getNetwork({ params }) {
      await networks.begun
      const network = requireNetwork(params.network, ports)
      const dropped = await droppedByOthers(network, context)
      const shown = showNetwork(network, context)
      return { ...shown, findings: [...shown.findings, ...dropped] }
    },
    createNetwork: ({ body, keep }) => networks.inTurn(() => createNetwork(body, context, keep)),
    changeNetwork: ({ params, query, body }) =>
      networks.inTurn(() =>
        changeNetwork(requireReady(params.network, context), { ...query, change: body }, context),
      ),
    planNetwork: ({ params, body }) =>
      networks.inTurn(
        async () => (await planNetwork(requireReady(params.network, context), body, context)).plan,
      ),
    startNetwork: ({ params }) =>
      networks.inTurn(() => startNetwork(requireReady(params.network, context), context)),
    stopNetwork: ({ params }) =>
      networks.inTurn(async () => {
        const network = requireReady(params.network, context)
        requireUnused(network.name, context.drivers, { any: false })
        return await stopNetwork(network, context)
      }),
    async deleteNetwork({ params }) {
      await networks.inTurn(async () => {
        const network = requireNetwork(params.network, ports)
        if (network.phase === 'deleting') await finishNetworkDeletion(network, context)
        else {
          requireUnused(network.name, context.drivers, { any: true })
          await deleteNetwork(network, context)
        }
      })
      return undefined
    },
    async listLeases({ params }) {
      return [...(await ports.networks.leases(requireNetwork(params.network, ports)))]
    },
  }
}

function requireReady(name: string, { ports }: Context): NetworkRecord {
  const network = requireNetwork(name, ports)
  if (network.phase === 'ready') return network
  throw new KvasirError('busy', `Network ${name} is being deleted; delete it again to go on.`)
}
