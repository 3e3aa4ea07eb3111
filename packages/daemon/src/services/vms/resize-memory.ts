/**
 * Gives memory to a running guest or takes it: by its balloon (`target`) or by plugging (`size`). The spec is changed and the emulator
 * told before the job begins, which then only waits: the guest follows in its own time, and may not follow at all.
 *
 * Nobody's turn is held while waiting, so a VM that waits can be shut down, and whoever sets another size ends the wait.
 */
import { formatBytes, KvasirError, type VmSpec, vmSpec } from '@kvasir/contract'
import { judgeProgress, type MemoryGoal } from '../../model/memory/memory-goal.ts'
import { planChanges } from '../../model/vm/plan-changes.ts'
import type { Driver } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { askAgain } from './bring-in-line.ts'
import { changeVm } from './change-vm.ts'
import { ordersOf, situationOf } from './situation.ts'

/** The guest is asked how far it is at pauses that grow from the first to the second. */
const firstPauseMs = 20
const longestPauseMs = 250

export interface MemoryRequest {
  readonly size?: number | undefined
  readonly target?: number | undefined
}

/** What was ordered: how the guest is to be, and the memory of the spec that says so. */
export interface OrderedMemory {
  readonly goal: MemoryGoal
  readonly asked: VmSpec['memory']
}

/** Changes the spec and tells the emulator. Refuses what a running guest cannot be given, and says why. */
export async function orderMemory(
  driver: Driver,
  request: MemoryRequest,
  context: Context,
): Promise<OrderedMemory> {
  driver.requireAllowed('memory')
  const { emulator, record } = driver.view()
  const before = emulator && (await readBytes(emulator, request))
  // By the time this is over somebody else may have changed the spec again.
  const ours = { record }
  await changeVm(
    driver,
    (now) => {
      ours.record = { ...now, spec: liveSpec(now, request, context.ports) }
      return ours.record.spec
    },
    context,
  )
  if (ours.record.revision === driver.view().record.revision)
    await driver.take('memory', async (seat) => {
      if (seat.emulator) await askAgain(seat.record, seat.emulator)
    })
  const orders = ordersOf(ours.record)
  const goal: MemoryGoal = {
    what: request.target === undefined ? 'plugged' : 'balloon',
    name: record.name,
    fromBytes: before ?? 0,
    toBytes: (request.target === undefined ? orders.plugged : orders.balloon) ?? 0,
  }
  return { goal, asked: ours.record.spec.memory }
}

export interface FollowOptions {
  readonly timeoutMs: number
  readonly signal: AbortSignal
  readonly onProgress: (step: string, fraction: number) => void
}

/** Waits until the guest has followed. `guest-refused` says how far it came in the time it had. */
export async function followMemory(
  driver: Driver,
  { goal, asked }: OrderedMemory,
  { context, ...options }: FollowOptions & { readonly context: Context },
): Promise<void> {
  const { clock } = context.ports
  const deadline = clock.monotonicMs() + options.timeoutMs
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(longestPauseMs, pauseMs * 2)) {
    const emulator = requireFollowing(driver, asked)
    const nowBytes = await readBytes(emulator, goal.what === 'balloon' ? { target: 0 } : { size: 0 })
    const { isReached, fraction, sentence } = judgeProgress(goal, nowBytes ?? goal.toBytes)
    options.onProgress(sentence, fraction)
    if (isReached) return
    if (clock.monotonicMs() >= deadline)
      throw new KvasirError(
        'guest-refused',
        `Within ${options.timeoutMs / 1000} s ${sentence}; it goes on being asked for the rest, as its spec says.`,
        { details: { wantedBytes: goal.toBytes, reachedBytes: nowBytes ?? 0, fromBytes: goal.fromBytes } },
      )
    await clock.sleep(pauseMs, options.signal)
  }
}

async function readBytes(emulator: Emulator, { target }: MemoryRequest): Promise<number | undefined> {
  if (target !== undefined) return await emulator.memory.balloonBytes()
  return (await emulator.memory.plugged())?.pluggedBytes
}

/** The spec with what is asked for, where a running guest can be given that. */
function liveSpec(record: VmRecord, { size, target }: MemoryRequest, ports: Ports): VmSpec {
  const { target: former, ...memory } = record.spec.memory
  const wanted = {
    ...memory,
    ...(size === undefined ? {} : { size }),
    ...targetOf({ size: size ?? memory.size, target: target ?? former }),
  }
  const parsed = vmSpec.safeParse({ ...record.spec, memory: wanted })
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    const field = issue?.path.join('.') ?? 'memory'
    throw refused(record, `${field} ${issue?.message ?? 'is not valid'}`, field)
  }
  const changes = planChanges(record.spec, parsed.data, situationOf(record, ports))
  const waiting = changes.find((change) => change.effect !== 'live')
  if (waiting) throw refused(record, `${waiting.reason}`, waiting.field)
  return parsed.data
}

/** A target of all there is, is none. */
function targetOf({ size, target }: { readonly size: number; readonly target: number | undefined }) {
  return target === undefined || target === size ? {} : { target }
}

function refused(record: VmRecord, why: string, field: string): KvasirError {
  const has = formatBytes(record.spec.memory.target ?? record.spec.memory.size)
  return new KvasirError('plan-refused', `The guest of VM ${record.name} keeps ${has}: ${why}.`, {
    details: { field },
  })
}

/** The emulator that is waited for; refuses to wait for one that is gone or stands, or that was told something else meanwhile. */
function requireFollowing(driver: Driver, asked: VmSpec['memory']): Emulator {
  const { emulator, record } = driver.view()
  const { name, life, spec } = record
  if (spec.memory.size !== asked.size || spec.memory.target !== asked.target)
    throw new KvasirError(
      'cancelled',
      `The guest of VM ${name} was meanwhile asked for another amount of memory, so this one is not waited for.`,
    )
  if (emulator && life.state === 'running') return emulator
  throw new KvasirError(
    'wrong-state',
    `VM ${name} is ${life.state}, so its guest does not follow; its spec keeps what was asked for.`,
    { details: { state: life.state } },
  )
}
