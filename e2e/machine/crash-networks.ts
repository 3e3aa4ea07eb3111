/** Networks among the operations whose every step a daemon may die at. */
import { endpoints, KvasirError, type NewNetworkInput } from '@kvasir/contract'
import type { Operation } from './crash-operation.ts'
import { bring, diskless } from './crash-steps.ts'
import { eventually } from './eventually.ts'
import { type NetworkRoom, outside } from './network-room.ts'
import type { World } from './world.ts'

const name = 'lan'
const params = { network: name }
const wanted: NewNetworkInput = {
  name,
  bridge: 'br-crash',
  ipv4: { subnet: '10.9.0.0/24' },
  ipv6: { subnet: 'fd12:3456:789a:1::/64' },
}

/** The operations on networks in a room; `bare` is what its host is without one. Nothing is done that the host does not show. */
export function networkOperations(room: NetworkRoom, bare: string): readonly Operation[] {
  const isThere = async (world: World) => {
    const state = await stateOf(world)
    return state === 'active' && (await room.hostState()).includes('10.9.0.1/24')
  }
  const isAway = async (world: World, wantedState: string) =>
    (await stateOf(world)) === wantedState && (await room.hostState()) === bare
  return [
    {
      name: 'create a network',
      isKeyed: true,
      about: [],
      prepare: remove,
      run: async (world, key) =>
        void (await world.client.call(endpoints.createNetwork, { body: wanted, idempotencyKey: key })),
      isDone: isThere,
    },
    {
      name: 'stop a network',
      about: [],
      prepare: start,
      run: stop,
      isDone: (world) => isAway(world, 'inactive'),
    },
    { name: 'start a network', about: [], prepare: stop, run: start, isDone: isThere },
    {
      name: 'change the subnet of a network',
      about: [],
      points: /^network\.change\./,
      prepare: async (world) => {
        await start(world)
        await change(world, '10.9.0.0/24')
      },
      run: (world) => change(world, '10.7.0.0/24'),
      async isDone(world) {
        const [state, host] = [await stateOf(world), await room.hostState()]
        return state === 'active' && host.includes('10.7.0.1/24') && !host.includes('10.9.0.')
      },
    },
    {
      name: 'delete a network',
      about: [],
      prepare: start,
      run: remove,
      isDone: (world) => isAway(world, 'none'),
    },
  ]
}

/** The bridge around the room's uplink, by which its host is reached; `bare` is what that is without one. */
export function uplinkOperations(room: NetworkRoom, bare: string): readonly Operation[] {
  const edge = { params: { network: 'edge' } }
  const isAround = async (world: World) =>
    (await stateOf(world, 'edge')) === 'active' &&
    (await room.host.run('ip', '-br', 'address', 'show', 'type', 'bridge')).includes(outside.host) &&
    !(await room.host.run('ip', '-br', 'address', 'show', 'dev', 'uplink')).includes(outside.host) &&
    (await room.world.reaches(outside.host))
  const isBack = async (world: World) =>
    (await stateOf(world, 'edge')) === 'inactive' && (await room.uplinkState()) === bare
  const body: NewNetworkInput = { name: 'edge', mode: 'bridge', uplink: 'uplink' }
  const begin = async (world: World) => {
    if ((await stateOf(world, 'edge')) === 'none') await world.client.call(endpoints.createNetwork, { body })
    else await world.client.call(endpoints.startNetwork, edge)
  }
  const end = async (world: World) => void (await world.client.call(endpoints.stopNetwork, edge))
  return [
    {
      name: 'start a network around a link',
      about: [],
      points: /^network\.raise\.after-(journal|uplink)$/,
      async prepare(world) {
        await begin(world)
        await end(world)
      },
      run: begin,
      async isDone(world) {
        if (await isAround(world)) return true
        if (await isBack(world)) return false
        throw new Error('The host is neither reached by the bridge nor as it was.')
      },
    },
    {
      name: 'stop a network around a link',
      about: [],
      points: /^network\.lower\./,
      prepare: begin,
      run: end,
      isDone: isBack,
    },
  ]
}

/** A VM that starts on a network: its tap and what the network does for it are there when it runs, and its tap not when it does not. */
export function wiredOperation(room: NetworkRoom): Operation {
  const hasTap = async () => /^kvt[0-9a-f]{10}\b/m.test(await room.hostState())
  const rules = async () => {
    const state = await room.hostState()
    return [/dport 8080 dnat ip to/, /iifname vmap \{ "kvt/].filter((rule) => rule.test(state)).length
  }
  const forwards = [{ hostPort: 8080, hostAddress: '0.0.0.0', guestPort: 80 }]
  const nics = [{ name: 'net0', network: name, forwards, antiSpoof: true, isolated: true }]
  return {
    name: 'start a VM on a network',
    about: ['wired'],
    points: /^emulator\.launch\./,
    async prepare(world) {
      await start(world)
      await bring(world, 'wired', 'shutoff', { ...diskless, nics })
      if (await hasTap()) throw new Error('A tap is left of a VM that is off.')
      const areGone = async () => ((await rules()) === 0 ? true : undefined)
      await eventually(areGone, { withinMs: 10_000, what: 'the rules of a VM that is off are gone' })
    },
    run: (world) => world.vm('wired').start(),
    isDone: async (world) =>
      (await world.vm('wired').state()) === 'running' && (await hasTap()) && (await rules()) === 2,
  }
}

async function stateOf({ client }: World, of = name): Promise<string> {
  const networks = await client.call(endpoints.listNetworks)
  return networks.find((network) => network.name === of)?.state ?? 'none'
}

async function start(world: World): Promise<void> {
  if ((await stateOf(world)) === 'none') await world.client.call(endpoints.createNetwork, { body: wanted })
  else await world.client.call(endpoints.startNetwork, { params })
}

async function stop(world: World): Promise<void> {
  if ((await stateOf(world)) === 'none') await start(world)
  await world.client.call(endpoints.stopNetwork, { params })
}

async function change({ client }: World, subnet: string): Promise<void> {
  await client.call(endpoints.changeNetwork, {
    params,
    query: { restart: 'true' },
    body: { ipv4: { subnet } },
  })
}

async function remove({ client }: World): Promise<void> {
  await client.call(endpoints.deleteNetwork, { params }).catch((error: unknown) => {
    if (!(error instanceof KvasirError && error.code === 'network-not-found')) throw error
  })
}
