/**
 * `kill -9` of the daemon at every step of every operation loses nothing (design decisions 2, 11 and 12).
 *
 * Not here: deaths at random moments under load (random-kills.e2e.ts).
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { needs } from '../../tools/require.ts'
import { openIscsiServer } from '../../tools/servers/iscsi-target.ts'
import { layerOperations } from '../machine/crash-layers.ts'
import type { Operation } from '../machine/crash-operation.ts'
import { operations } from '../machine/crash-operations.ts'
import { platformOperations } from '../machine/crash-platform.ts'
import { type CrashScene, crashAt, failAt, pointsOf, type Round } from '../machine/crash-round.ts'
import { chooseRounds, crashShareOf } from '../machine/crash-share.ts'
import { eventually } from '../machine/eventually.ts'
import { failpointsOf, registeredFailpoints } from '../machine/failpoints.ts'
import { spread } from '../machine/spread.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu', 'passt', 'tgt', 'ovmf', 'swtpm')
/** Daemons that die side by side; they mostly wait. */
const lanes = 3
const testMs = 1_700_000

/** What all lanes know together. */
interface Tally {
  readonly queue: Operation[]
  readonly rounds: Round[]
  readonly registered: Set<string>
  readonly reached: Set<string>
  /** Whether a round is played in this run. */
  readonly isPlayed: ReturnType<typeof chooseRounds>
  /** Points at which a daemon died in the middle of its recovery. */
  readonly diedInRecovery: Set<string>
}

test('a daemon that dies, or a step that fails, at any failpoint of any operation loses nothing', {
  skip,
  timeout: testMs,
}, async (t) => {
  await using server = await openIscsiServer()
  const share = crashShareOf(process.env)
  const tally: Tally = {
    isPlayed: chooseRounds(share),
    queue: [...operations, ...(await layerOperations(server)), ...platformOperations()],
    rounds: [],
    registered: new Set(),
    reached: new Set(),
    diedInRecovery: new Set(),
  }

  const ends = await Promise.allSettled(Array.from({ length: lanes }, () => runLane(t, tally)))

  if (share.oneOf > 1)
    t.diagnostic(
      `Of the kills at points that another operation had, and of the steps that fail, one in ${share.oneOf} was played: turn ${share.turn}.`,
    )
  report(t, tally.rounds)
  for (const end of ends) if (end.status === 'rejected') throw end.reason
  const unreached = [...tally.registered.difference(tally.reached)]
  // Suites of their own have those of networks and of NICs on them, in network namespaces of their own (network-crash, nic-hotplug), and
  // unit tests and the lab those of devices of the host, which take an IOMMU; those of channels,
  // shares and small devices are in unit tests and in consoles, shares and spec-changes.
  const elsewhere =
    /^(network|vm\.nics|emulator\.plug-nic|vm\.(channels|shares|devices)|emulator\.plug-(channel|share|device)|device|vm\.nic-vfs|vm\.host-devices|emulator\.plug-host-device)\./
  const ours = unreached.filter((point) => !elsewhere.test(point))
  assert.deepEqual(ours, [], 'Every registered failpoint was reached.')
  assert.deepEqual(tally.rounds.filter((round) => round.problems.length > 0).map(sentenceOf), [])
})

async function runLane(t: TestContext, tally: Tally): Promise<void> {
  await using world = await openWorld(t)
  const scene = await setScene(world, tally)
  for (let operation = tally.queue.shift(); operation; operation = tally.queue.shift())
    await tryOperation(operation, scene, tally)
  for (const point of scene.failpoints.reached()) tally.reached.add(point)
}

async function setScene(world: World, tally: Tally): Promise<CrashScene> {
  const failpoints = failpointsOf(world.place)
  await world.daemon.stop()
  for (const name of await registeredFailpoints(world.place)) tally.registered.add(name)
  await world.startDaemon(failpoints.environment)
  const bystander = await world.bootTiny('bystander')
  await eventually(() => bystander.isCounting(), { withinMs: 30_000, what: 'the bystander counts' })
  return { world, failpoints, bystander }
}

/** Every point kills the daemon, and fails a step; each point of recovery kills the next daemon too, once. */
async function tryOperation(operation: Operation, scene: CrashScene, tally: Tally): Promise<void> {
  for (const point of await pointsOf(operation, scene)) {
    const round = tally.isPlayed(operation.name, point, 'exit')
      ? await crashAt(operation, point, scene)
      : undefined
    if (round !== undefined) tally.rounds.push(round)
    if (!operation.onlyDies && tally.isPlayed(operation.name, point, 'throw'))
      tally.rounds.push(await failAt(operation, point, scene))
    for (const again of round?.inRecovery ?? []) {
      if (tally.diedInRecovery.has(again)) continue
      tally.diedInRecovery.add(again)
      tally.rounds.push(await crashAt(operation, point, { ...scene, again }))
    }
  }
}

function sentenceOf({ operation, point, action, problems }: Round): string {
  return `${operation}, ${action} at ${point}: ${problems.join(' | ')}`
}

function report(t: TestContext, rounds: readonly Round[]): void {
  const bad = rounds.filter((round) => round.problems.length > 0).length
  const kills = rounds.filter((round) => round.action === 'exit').length
  const recovery = spread(rounds.flatMap((round) => round.recoveryMs ?? []))
  const served = spread(rounds.flatMap((round) => round.servedMs ?? []))
  t.diagnostic(
    `${rounds.length} rounds, ${kills} of them kills, ${bad} bad; recovery ${recovery}; from the start of the process until it ` +
      `serves ${served}`,
  )
}
