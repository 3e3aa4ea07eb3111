/** Creates a network: a row that says `creating`, what it is on the host, then `ready`. Recovery undoes what was interrupted. */
import { KvasirError, type Network, type NewNetwork } from '@kvasir/contract'
import { takenSubnets } from '../../model/network/collisions.ts'
import type { HostNetwork } from '../../model/network/host-network.ts'
import type { NetworkSpec } from '../../model/network/network-record.ts'
import { resolveNetwork } from '../../model/network/resolve-network.ts'
import type { Ports } from '../../ports/ports.ts'
import type { NetworkRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { requireIommu } from '../host/host-devices.ts'
import { showNetwork } from './show-network.ts'

/** Creates a network and starts it. `name-taken`, `network-refused`. Only for who has the turn. */
export async function createNetwork(
  wanted: NewNetwork,
  context: Context,
  keep: (answer: Network) => void,
): Promise<Network> {
  const { ports, networks } = context
  const { store, failpoint } = ports
  await failpoint('network.create.before-row')
  const record = await resolve(wanted, ports)
  store.networks.insert(record)
  await using undo = new AsyncDisposableStack()
  undo.defer(() => undoNetwork(record, context))
  await failpoint('network.create.after-row')
  await networks.raise(record)
  await failpoint('network.create.after-raise')
  const ready: NetworkRecord = { ...record, phase: 'ready' }
  const answer = store.transaction(() => {
    store.networks.update(ready)
    context.emit('network.created', record.name, { id: record.id, mode: record.mode })
    const shown = showNetwork(ready, context)
    keep(shown)
    return shown
  })
  undo.move()
  await failpoint('network.create.after-ready')
  return answer
}

/** Takes back a network that was not finished. Safe to repeat. */
export async function undoNetwork(
  record: NetworkRecord,
  { ports, networks }: Pick<Context, 'ports' | 'networks'>,
): Promise<void> {
  await ports.networks.lower(record)
  await ports.networks.forget(record.id)
  ports.store.networks.remove(record.id)
  networks.forget(record)
}

/** Networks of VLANs share a bridge that is neither's. */
function hasSameLink(one: NetworkSpec, other: NetworkSpec): boolean {
  if (one.uplink && one.uplink.link === other.uplink?.link) return true
  // A link whose packets go to a bridge has none left for a macvtap.
  if ([one.uplink?.link === other.bridge, other.uplink?.link === one.bridge].includes(true)) return true
  const isShared = [one, other].every(({ mode, uplink, vlans }) => mode === 'bridge' && !uplink && vlans)
  return one.mode !== 'sriov' && one.bridge === other.bridge && !isShared
}

async function resolve(wanted: NewNetwork, ports: Ports): Promise<NetworkRecord> {
  const { store, clock, bootId } = ports
  if (store.networks.findByName(wanted.name))
    throw new KvasirError(
      'name-taken',
      `There is a network ${wanted.name} already, so no other one can have that name.`,
    )
  const host = await ports.networks.survey()
  const others = store.networks.list()
  const spec = resolveNetwork(wanted, {
    id: clock.uuid(),
    taken: takenSubnets(host, others),
    host,
  })
  if (spec.mode === 'sriov') await requireIommu(spec.name, ports)
  else requireOwnBridge(spec, { host, others })
  return {
    ...spec,
    autostart: wanted.autostart,
    started: true,
    bootId,
    phase: 'creating',
    createdAt: clock.now(),
  }
}

function requireOwnBridge(
  spec: NetworkSpec,
  { host, others }: { readonly host: HostNetwork; readonly others: readonly NetworkRecord[] },
): void {
  const holder = others.find((other) => hasSameLink(other, spec))?.name
  const isHosts = spec.mode === 'macvtap' || (spec.mode === 'bridge' && spec.uplink === undefined)
  if (holder !== undefined || (!isHosts && host.links.some(({ name }) => name === spec.bridge)))
    throw new KvasirError(
      'network-refused',
      `The link ${spec.bridge} ${holder === undefined ? 'is there already and is somebody else’s' : `is what network ${holder} is on`}, so network ${spec.name} cannot have it.`,
      { details: { network: spec.name, link: spec.bridge } },
    )
}
