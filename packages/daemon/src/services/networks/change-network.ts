/**
 * Changes a network: the row first, then the host, which is made like it. For what guests cannot have while they are on it, all of it is
 * taken away before the row changes; so whoever comes after a crash makes the network that the row says, the old one or the new one, whole.
 */
import { KvasirError, type Network, type NetworkChange, type NetworkPlan } from '@kvasir/contract'
import { takenSubnets } from '../../model/network/collisions.ts'
import type { HostNetwork } from '../../model/network/host-network.ts'
import { macOf } from '../../model/network/mac-holders.ts'
import { requireOnNetwork } from '../../model/network/nic-addresses.ts'
import { planNetworkChanges, wantedAfter } from '../../model/network/plan-network.ts'
import { resolveNetwork } from '../../model/network/resolve-network.ts'
import type { NetworkRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { requireUnused } from './nic-networks.ts'
import { showNetwork } from './show-network.ts'

/** What a change would do, and the row after it. `network-refused`, `bad-request` for one that does not fit. Only for who has the turn. */
export async function planNetwork(
  network: NetworkRecord,
  change: NetworkChange,
  { ports, drivers, networks }: Context,
): Promise<{ readonly plan: NetworkPlan; readonly next: NetworkRecord }> {
  if (
    change.mode !== undefined &&
    change.mode !== network.mode &&
    [change.mode, network.mode].some((mode) => mode === 'bridge' || mode === 'macvtap' || mode === 'sriov')
  )
    throw new KvasirError(
      'network-refused',
      `Network ${network.name} is of mode ${network.mode}, which does not become ${change.mode}; create another one.`,
      { details: { network: network.name } },
    )
  const wanted = wantedAfter(network, change)
  const host = await ports.networks.survey()
  const others = ports.store.networks.list().filter(({ id }) => id !== network.id)
  const isOthers = ({ link }: { readonly link: string | undefined }) => link !== network.bridge
  const outside = {
    ...host,
    addresses: host.addresses.filter(isOthers),
    routes: host.routes.filter(isOthers),
  }
  const made = networks.sight(network).pools.filter(({ made }) => made !== undefined)
  const own = new Set(made.map(({ pf }) => pf))
  const spec = resolveNetwork(wanted, {
    id: network.id,
    taken: takenSubnets(outside, others),
    host: {
      ...atRest(host, network),
      pfs: host.pfs?.map((pf) => (own.has(pf.pf) ? { ...pf, vfs: [] } : pf)),
    },
  })
  const next: NetworkRecord = { ...network, ...spec, autostart: wanted.autostart }
  for (const driver of drivers.list()) {
    const { id, name, spec: vm, run } = driver.view().record
    for (const nic of [...vm.nics, ...(run?.bootedSpec.nics ?? [])])
      if (nic.network === network.name)
        requireOnNetwork({ vm: name, nic, mac: macOf(id, nic), network: next }, [])
  }
  return { plan: planNetworkChanges(network, next, { isStarted: network.started }), next }
}

/** What its own bridge carries is the uplink's, in the eyes of who asks whether that may be taken. */
function atRest(host: HostNetwork, { bridge, uplink }: NetworkRecord): HostNetwork {
  if (!uplink) return host
  const moved = <T extends { readonly link: string }>(one: T): T =>
    one.link === bridge ? { ...one, link: uplink.link } : one
  return { ...host, addresses: host.addresses.map(moved), ways: (host.ways ?? []).map(moved) }
}

/** Changes it. `network-refused` for what needs a restart that is not asked for, `in-use` while a VM runs on one. Only for who has the turn. */
export async function changeNetwork(
  network: NetworkRecord,
  { change, restart }: { readonly change: NetworkChange; readonly restart: boolean },
  context: Context,
): Promise<Network> {
  const { plan, next } = await planNetwork(network, change, context)
  if (plan.action === 'nothing') return showNetwork(network, context)
  if (plan.action === 'restart') requireRestart(plan, { restart, context })
  const isHostChanged = network.started && plan.changes.some(({ field }) => field !== 'autostart')
  await replace(network, { next, isHostChanged, restarts: plan.action === 'restart' }, context)
  context.emit('network.changed', network.name, { fields: plan.changes.map(({ field }) => field) })
  return showNetwork(next, context)
}

function requireRestart(
  { name, changes }: NetworkPlan,
  { restart, context }: { readonly restart: boolean; readonly context: Context },
): void {
  requireUnused(name, context.drivers, { any: false })
  if (restart) return
  const fields = changes.flatMap(({ field, effect }) => (effect === 'restart' ? [field] : []))
  throw new KvasirError(
    'network-refused',
    `Network ${name} has to be stopped and started for another ${fields.join(', ')}, and that was not asked for, so it stays as it is.`,
    { details: { network: name, fields } },
  )
}

async function replace(
  network: NetworkRecord,
  how: { readonly next: NetworkRecord; readonly isHostChanged: boolean; readonly restarts: boolean },
  { ports, networks }: Context,
): Promise<void> {
  const { store, failpoint } = ports
  const { next, isHostChanged, restarts } = how
  await using undo = new AsyncDisposableStack()
  await failpoint('network.change.before-row')
  if (isHostChanged)
    undo.defer(async () => {
      // What a failed attempt has made of the new one is none of the old.
      if (restarts) await ports.networks.lower(next)
      store.networks.update(network)
      await networks.raise(network).catch((error: unknown) => networks.noteFailure(network, error))
    })
  if (restarts) {
    await ports.networks.lower(network)
    await failpoint('network.change.after-lower')
  }
  store.networks.update(next)
  await failpoint('network.change.after-row')
  if (isHostChanged) await networks.raise(next)
  await failpoint('network.change.after-raise')
  undo.move()
}
