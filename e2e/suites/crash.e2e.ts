/**
 * `kill -9` of the daemon at every step of every operation loses nothing (design decisions 2, 11 and 12).
 *
 * Not here: deaths at random moments under load (random-kills.e2e.ts).
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { needs } from '../../tools/require.ts'
import { type Operation, operations } from '../machine/crash-operations.ts'
import { type CrashScene, crashAt, failAt, pointsOf, type Round } from '../machine/crash-round.ts'
import { eventually } from '../machine/eventually.ts'
import { failpointsOf, registeredFailpoints } from '../machine/failpoints.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu', 'passt')
/** Daemons that die side by side. */
const lanes = 2
const testMs = 480_000

test('a daemon that dies, or a step that fails, at any failpoint of any operation loses nothing', {
  skip,
  timeout: testMs,
}, async (t) => {
  const queue = [...operations]
  const rounds: Round[] = []
  const reached = new Set<string>()
  const registered = new Set<string>()
  const ends = await Promise.allSettled(
    Array.from({ length: lanes }, async () => {
      await using world = await openWorld(t)
      const scene = await setScene(world, registered)
      for (let operation = queue.shift(); operation; operation = queue.shift())
        rounds.push(...(await tryOperation(operation, scene)))
      for (const point of scene.failpoints.reached()) reached.add(point)
    }),
  )
  report(t, rounds)
  for (const end of ends) if (end.status === 'rejected') throw end.reason
  assert.deepEqual([...registered.difference(reached)], [], 'Every registered failpoint was reached.')
  assert.deepEqual(rounds.filter((round) => round.problems.length > 0).map(sentenceOf), [])
})

async function setScene(world: World, registered: Set<string>): Promise<CrashScene> {
  const failpoints = failpointsOf(world.place)
  await world.daemon.stop()
  for (const name of await registeredFailpoints(world.place)) registered.add(name)
  await world.startDaemon(failpoints.environment)
  const bystander = await world.bootTiny('bystander')
  await eventually(() => bystander.isCounting(), { withinMs: 30_000, what: 'the bystander counts' })
  return { world, failpoints, bystander }
}

async function tryOperation(operation: Operation, scene: CrashScene): Promise<readonly Round[]> {
  const rounds: Round[] = []
  for (const point of await pointsOf(operation, scene)) {
    rounds.push(await crashAt(operation, point, scene))
    rounds.push(await failAt(operation, point, scene))
  }
  if (process.env['DBG']) console.log(rounds.map((x) => `${sentenceOf(x)} ${x.recoveryMs}`).join('\n'))
  return rounds
}

function sentenceOf({ operation, point, action, problems }: Round): string {
  return `${operation}, ${action} at ${point}: ${problems.join(' | ')}`
}

function report(t: TestContext, rounds: readonly Round[]): void {
  const times = rounds.flatMap((round) => round.recoveryMs ?? []).toSorted((a, b) => a - b)
  const median = Math.round(times[Math.floor(times.length / 2)] ?? 0)
  const bad = rounds.filter((round) => round.problems.length > 0).length
  t.diagnostic(
    `${rounds.length} rounds, ${times.length} of them kills, ${bad} bad; from the daemon's start until it serves: ` +
      `median ${median} ms, at most ${Math.round(times.at(-1) ?? 0)} ms`,
  )
}
