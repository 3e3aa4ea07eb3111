/**
 * One round of the crash suite: an operation is begun, the daemon dies (or the step fails) at a failpoint, and everything is looked
 * at: what runs goes on, what was not touched is as it was, nothing half-made is left, and the operation can be done again.
 *
 * A round gives what was wrong as sentences instead of failing at the first, so that one run shows every defect.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { endpoints, KvasirError } from '@kvasir/contract'
import type { Operation } from './crash-operation.ts'
import { runRefusedDaemon } from './daemon.ts'
import { eventually } from './eventually.ts'
import type { FailpointAction, Failpoints } from './failpoints.ts'
import { straysOf } from './strays.ts'
import type { VmHandle } from './vm-handle.ts'
import type { World } from './world.ts'

const deathMs = 20_000
const countMs = 5_000
const jobsMs = 30_000
/** How long recovery may take. */
export const recoveryLimitMs = 2_000

/** Where the rounds of one world happen. */
export interface CrashScene {
  readonly world: World
  readonly failpoints: Failpoints
  /** A VM that runs all the time, and whose guest counts. */
  readonly bystander: VmHandle
}

/** What a round came to. */
export interface Round {
  readonly operation: string
  readonly point: string
  readonly action: FailpointAction
  /** From the start of the daemon's process until it served; only after a death. */
  readonly servedMs?: number
  /** What of that the daemon spent on recovery. */
  readonly recoveryMs?: number
  /** The failpoints that recovery reached. */
  readonly inRecovery?: readonly string[]
  readonly problems: readonly string[]
}

/** The failpoints that an operation reaches, each once, in the order in which it does. */
export async function pointsOf(operation: Operation, scene: CrashScene): Promise<readonly string[]> {
  const { world, failpoints } = scene
  await operation.prepare(world)
  const before = failpoints.reached().length
  await operation.run(world, randomUUID())
  const points = [...new Set(failpoints.reached().slice(before))]
  return points.filter((point) => operation.points?.test(point) ?? true)
}

/**
 * Lets the daemon die at a failpoint in the middle of an operation, and starts the next one; `again` names a failpoint at which that
 * one dies in the middle of its recovery.
 */
export async function crashAt(
  operation: Operation,
  point: string,
  { again, ...scene }: CrashScene & { readonly again?: string },
): Promise<Round> {
  const { world, failpoints } = scene
  const problems: string[] = []
  const key = randomUUID()
  let start: Start | undefined
  await attempt(problems, async () => {
    await operation.prepare(world)
    const before = await lookAround(scene, operation)
    await failpoints.arm(point, 'exit')
    const work = operation.run(world, key).catch((error: unknown) => error)
    const died = await Promise.race([world.daemon.exited.then(() => true), pause(deathMs, false)])
    await failpoints.disarm()
    if (!died) throw new Error(`The point was not reached: ${String(await work)}`)
    if (again !== undefined) await dieInRecovery(again, scene)
    start = await startAgain(scene)
    if (start.recoveryMs > recoveryLimitMs) problems.push(`Recovery took ${start.recoveryMs} ms.`)
    await work
    problems.push(...(await differences(scene, { operation, before })))
    if (operation.isKeyed) await operation.run(world, key)
    await repeat(operation, { scene, before, problems })
  })
  const name = again === undefined ? point : `${point}, then at ${again} in recovery`
  return { operation: operation.name, point: name, action: 'exit', ...start, problems }
}

interface Start {
  readonly servedMs: number
  readonly recoveryMs: number
  readonly inRecovery: readonly string[]
}

async function startAgain({ world, failpoints }: CrashScene): Promise<Start> {
  const before = failpoints.reached().length
  const startedAt = performance.now()
  await world.startDaemon(failpoints.environment)
  const servedMs = performance.now() - startedAt
  const took = [...world.daemonLog().matchAll(/"tookMs":(\d+)/g)].at(-1)?.[1]
  return { servedMs, recoveryMs: Number(took), inRecovery: failpoints.reached().slice(before) }
}

async function dieInRecovery(point: string, { world, failpoints }: CrashScene): Promise<void> {
  await failpoints.arm(point, 'exit')
  const { signal } = await runRefusedDaemon(world.place, failpoints.environment)
  await failpoints.disarm()
  if (signal !== 'SIGKILL') throw new Error('Recovery did not reach the point.')
}

/** Lets one step of an operation fail. */
export async function failAt(operation: Operation, point: string, scene: CrashScene): Promise<Round> {
  const { world, failpoints } = scene
  const problems: string[] = []
  await attempt(problems, async () => {
    await operation.prepare(world)
    const before = await lookAround(scene, operation)
    await failpoints.arm(point, 'throw')
    const error = await operation.run(world, randomUUID()).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    await failpoints.disarm()
    if (!(await operation.isDone(world))) {
      if (error === undefined) problems.push('It was not done, and its caller was not told.')
      else if (!(error instanceof KvasirError)) problems.push('Its error is not one of the contract.')
    }
    if (!world.daemon.isAlive()) throw new Error('The daemon ended.')
    problems.push(...(await differences(scene, { operation, before })))
    await repeat(operation, { scene, before, problems })
  })
  return { operation: operation.name, point, action: 'throw', problems }
}

interface Sight {
  readonly vms: ReadonlyMap<string, string>
  readonly counter: number
}

async function repeat(
  operation: Operation,
  to: { readonly scene: CrashScene; readonly before: Sight; readonly problems: string[] },
): Promise<void> {
  const { world } = to.scene
  if (!(await operation.isDone(world))) {
    await operation.run(world, randomUUID())
    if (!(await operation.isDone(world))) to.problems.push('Repeated, it was not done.')
  }
  to.problems.push(...(await differences(to.scene, { operation, before: to.before })))
}

/** Every VM but those that the operation is about, with its state and process. */
async function lookAround({ world, bystander }: CrashScene, operation: Operation): Promise<Sight> {
  const vms = await world.client.call(endpoints.listVms)
  const others = vms.filter((vm) => !operation.about.includes(vm.name))
  return {
    vms: new Map(
      others.map(({ name, status }) => [name, `${status.state}, process ${status.pid ?? 'none'}`]),
    ),
    counter: await bystander.counter(),
  }
}

async function differences(
  scene: CrashScene,
  { operation, before }: { readonly operation: Operation; readonly before: Sight },
): Promise<readonly string[]> {
  const { world, bystander } = scene
  const problems: string[] = []
  await untilNothingIsUnderWay(world)
  const audit = await world.audit()
  problems.push(...audit.entries.map((entry) => `Audit: ${entry.kind} ${entry.thing}: ${entry.detail}`))
  problems.push(...(await straysOf(world)).map((stray) => `Left on the host: ${stray}`))
  const after = await lookAround(scene, operation)
  for (const [name, was] of before.vms) {
    const is = after.vms.get(name) ?? 'gone'
    if (is !== was) problems.push(`VM ${name} was ${was} and is ${is}.`)
  }
  if (!(await countsOn(bystander, before.counter)))
    problems.push(`The guest of ${bystander.name} counts no further than ${before.counter}.`)
  return problems
}

/** What a daemon took up again goes on beside its work, and what it works with is nothing left behind. */
async function untilNothingIsUnderWay({ client }: World): Promise<void> {
  const isQuiet = async () => {
    const jobs = await client.call(endpoints.listJobs, {})
    return jobs.every(({ state }) => state !== 'running') || undefined
  }
  await eventually(isQuiet, { withinMs: jobsMs, what: 'no job runs' })
}

/** Whether a guest has counted on from a number, or does soon: it counts tenths of seconds. */
export async function countsOn(vm: VmHandle, from: number): Promise<boolean> {
  const further = async () => ((await vm.counter()) > from ? true : undefined)
  return await eventually(further, { withinMs: countMs, what: 'the guest counts' }).catch(() => false)
}

async function attempt(problems: string[], work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    problems.push(error instanceof Error ? error.message : String(error))
  }
}
