/** `kill -9` of the daemon at every step of what is done to networks leaves what was there before, or what was asked for, and nothing else. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { needs } from '../../tools/require.ts'
import { networkOperations, uplinkOperations, wiredOperation } from '../machine/crash-networks.ts'
import { crashAt, failAt, pointsOf, type Round } from '../machine/crash-round.ts'
import { chooseRounds, crashShareOf } from '../machine/crash-share.ts'
import { eventually } from '../machine/eventually.ts'
import { failpointsOf, registeredFailpoints } from '../machine/failpoints.ts'
import { openNetworkRoom } from '../machine/network-room.ts'
import { openWorld } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const testMs = 1_700_000

test('a daemon that dies, or a step that fails, at any failpoint of networks loses nothing and leaves nothing', {
  skip,
  timeout: testMs,
}, async (t) => {
  await using room = await openNetworkRoom()
  const [bare, bareUplink] = [await room.hostState(), await room.uplinkState()]
  await using world = await openWorld(t, { network: room.host.path })
  const failpoints = failpointsOf(world.place)
  await world.daemon.stop()
  const registered = await registeredFailpoints(world.place)
  await world.startDaemon(failpoints.environment)
  const bystander = await world.bootTiny('bystander')
  await eventually(() => bystander.isCounting(), { withinMs: 60_000, what: 'the bystander counts' })
  const scene = { world, failpoints, bystander }
  const rounds: Round[] = []
  const diedInRecovery = new Set<string>()
  const isPlayed = chooseRounds(crashShareOf(process.env))

  const operations = [
    ...networkOperations(room, bare),
    ...uplinkOperations(room, bareUplink),
    wiredOperation(room),
  ]
  for (const operation of operations)
    for (const point of await pointsOf(operation, scene)) {
      const round = isPlayed(operation.name, point, 'exit')
        ? await crashAt(operation, point, scene)
        : undefined
      if (round !== undefined) rounds.push(round)
      if (isPlayed(operation.name, point, 'throw')) rounds.push(await failAt(operation, point, scene))
      for (const again of (round?.inRecovery ?? []).filter((name) => name.startsWith('network.'))) {
        if (diedInRecovery.has(again)) continue
        diedInRecovery.add(again)
        rounds.push(await crashAt(operation, point, { ...scene, again }))
      }
    }

  const reached = new Set(failpoints.reached())
  const unreached = registered.filter((point) => point.startsWith('network.') && !reached.has(point))
  assert.deepEqual(unreached, [], 'Every failpoint of networks was reached.')
  const bad = rounds.filter(({ problems }) => problems.length > 0)
  assert.deepEqual(
    bad.map(
      ({ operation, point, action, problems }) =>
        `${operation}, ${action} at ${point}: ${problems.join(' | ')}`,
    ),
    [],
  )
  t.diagnostic(`${rounds.length} rounds, none bad`)
})
