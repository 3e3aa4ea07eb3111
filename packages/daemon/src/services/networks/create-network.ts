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
  await undoUnfinished(wanted.name, context)
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

/** Takes back what attempts left that failed and could not be undone then, as without nft. Throws for one of the name that is wanted. */
async function undoUnfinished(wanted: string, context: Context): Promise<void> {
  const { log, store } = context.ports
  for (const record of store.networks.list().filter(({ phase }) => phase === 'creating'))
    await undoNetwork(record, context).catch((error: unknown) => {
      if (record.name === wanted) throw error
      log.warn({ network: record.name, err: error }, 'a network that is left could not be removed')
    })
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

/** The link that both would need for themselves. Networks of VLANs share a bridge that is neither's. */
function linkOfBoth(one: NetworkSpec, other: NetworkSpec): string | undefined {
  const [mine, others] = [one.uplink?.link, other.uplink?.link]
  // A link whose packets go to a bridge has none left for a macvtap.
  if (mine !== undefined && (mine === others || mine === other.bridge)) return mine
  if (others === one.bridge) return others
  const isShared = [one, other].every(({ mode, uplink, vlans }) => mode === 'bridge' && !uplink && vlans)
  return one.mode !== 'sriov' && one.bridge === other.bridge && !isShared ? one.bridge : undefined
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
  requireFreeLink(wanted, others)
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

/** Before it is said what else keeps the link from being taken: that is the other network's doing. */
function requireFreeLink(
  { name, uplink, link = uplink }: NewNetwork,
  others: readonly NetworkRecord[],
): void {
  const holder = others.find(({ uplink, macvtap, bridge }) =>
    [uplink?.link, macvtap && bridge].some((taken) => taken !== undefined && taken === link),
  )
  if (holder) throw heldLink(name, { link: link ?? '', holder: holder.name })
}

function heldLink(network: string, { link, holder }: { readonly link: string; readonly holder: string }) {
  return new KvasirError(
    'network-refused',
    `The link ${link} is what network ${holder} is on, so network ${network} cannot have it.`,
    { details: { network, link } },
  )
}

function requireOwnBridge(
  spec: NetworkSpec,
  { host, others }: { readonly host: HostNetwork; readonly others: readonly NetworkRecord[] },
): void {
  for (const other of others) {
    const link = linkOfBoth(other, spec)
    if (link !== undefined) throw heldLink(spec.name, { link, holder: other.name })
  }
  const isHosts = spec.mode === 'macvtap' || (spec.mode === 'bridge' && spec.uplink === undefined)
  if (!isHosts && host.links.some(({ name }) => name === spec.bridge))
    throw new KvasirError(
      'network-refused',
      `The link ${spec.bridge} is there already and is somebody else’s, so network ${spec.name} cannot have it.`,
      { details: { network: spec.name, link: spec.bridge } },
    )
}
