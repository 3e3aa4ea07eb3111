/** What firewalls of others drop of a network, as it is now. */
import type { NetworkFinding } from '@kvasir/contract'
import { foreignDrops } from '../../model/network/firewall/foreign-drops.ts'
import type { NetworkRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'

/** The findings; a host whose rules cannot be read is one of them. None for a network that is not started. */
export async function droppedByOthers(
  network: NetworkRecord,
  { ports, networks }: Pick<Context, 'ports' | 'networks'>,
): Promise<readonly NetworkFinding[]> {
  if (!network.started || network.phase !== 'ready') return []
  if (network.mode === 'macvtap') return [] // Its packets pass none of the host's firewalls.
  try {
    const filters = await ports.networks.filters()
    return foreignDrops(network, { wires: networks.wires(network), filters })
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    return [{ thing: 'firewall', detail: `Whether others drop its packets is not known. ${why}` }]
  }
}
