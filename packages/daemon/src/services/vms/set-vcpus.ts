/**
 * Brings the vCPUs of a running VM to the number that its spec says, and says how far the guest went.
 *
 *     row: spec, `vcpuTarget` ─▶ plug one after another ─▶ the guest takes them, its agent switches them on ─▶ target forgotten
 *                             └▶ ask the guest for the last one ─▶ it is gone ─▶ ask for the next ... ───────┘
 *
 * Invariant: the emulator says how many there are, and the row follows it (`bootedSpec.cpu.count`); the target is what was asked for
 * and not given up. A daemon that dies in between leaves the target, and the next one goes on. The seat is taken for each step and given
 * back while the guest is waited for, so that a VM whose guest does not answer can still be shut down.
 */
import { KvasirError } from '@kvasir/contract'
import { tcgKeepsVcpus } from '../../model/vm/cpu-rules.ts'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import { longestWaitMs, takeWhenFree } from './take-when-free.ts'
import { tunePlugged } from './tune-threads.ts'
import { VcpuAnswers } from './vcpu-answers.ts'

/** How long a guest may take to let go of one vCPU. */
const releaseTimeoutMs = 60_000
/** How long a guest may take to notice a vCPU that was plugged. */
const noticeTimeoutMs = 10_000
/** Events are hints: the emulator is asked this often whether they came. */
const lookMs = 1_000

/** The longest that the whole of it may take on a VM that can have this many vCPUs. */
export function vcpuDeadlineMs(max: number): number {
  return noticeTimeoutMs + longestWaitMs + releaseTimeoutMs * max
}

export interface VcpuWork {
  readonly signal: AbortSignal
  readonly onStep: (step: string) => void
}

/** What one run of this is about. */
interface Task extends VcpuWork {
  readonly driver: Driver
  readonly ports: Ports
  readonly emulator: Emulator
  readonly accelerator: 'kvm' | 'tcg'
  /** How many vCPUs there were, and how many there shall be. */
  readonly before: number
  readonly target: number
  readonly answers: VcpuAnswers
}

/** Does it. Answers how far it went, in words; `guest-refused` when the guest keeps what it was asked for. */
export async function setVcpus(driver: Driver, ports: Ports, work: VcpuWork): Promise<string> {
  const { emulator, record } = driver.view()
  const target = record.run?.vcpuTarget
  if (!emulator || !record.run || target === undefined) throw notRunning(driver)
  const { accelerator, bootedSpec } = record.run
  const before = bootedSpec.cpu.count
  using answers = new VcpuAnswers(emulator)
  const task: Task = { ...work, driver, ports, emulator, accelerator, before, target, answers }
  try {
    await reachTarget(task)
    const guest = await guestWords(task)
    await forgetTarget(task)
    return `It has ${target} of ${bootedSpec.cpu.max ?? target} vCPUs${guest}.`
  } catch (error) {
    // A daemon that leaves has given nothing up.
    if (!(error instanceof KvasirError && error.code === 'shutting-down')) await forgetTarget(task)
    throw error
  }
}

/** Writes down how many vCPUs there are by the emulator, which outranks the row. */
export function noteVcpus(seat: Seat, count: number): void {
  const { run } = seat.record
  if (!run || count === 0 || run.bootedSpec.cpu.count === count) return
  const { bootedSpec } = run
  seat.update({ run: { ...run, bootedSpec: { ...bootedSpec, cpu: { ...bootedSpec.cpu, count } } } })
}

async function reachTarget(task: Task): Promise<void> {
  const { ports, answers, signal, target } = task
  let asked = Number.POSITIVE_INFINITY
  let deadlineMs = 0
  for (;;) {
    signal.throwIfAborted()
    const count = await inSeat(task, (seat) => plugMissing(seat, task))
    if (count <= target) return
    if (task.accelerator === 'tcg') throw keeps(task, count, tcgKeepsVcpus)
    if (answers.hasRefused(count - 1)) throw keeps(task, count, 'it refuses to let go of another')
    if (count < asked) {
      deadlineMs = ports.clock.monotonicMs() + releaseTimeoutMs
      await inSeat(task, () => askForLast(task, count))
      asked = count
    }
    const leftMs = deadlineMs - ports.clock.monotonicMs()
    if (leftMs <= 0) throw keeps(task, count, `it did not let go of another in ${releaseTimeoutMs / 1000} s`)
    await answers.next(Math.min(lookMs, leftMs), { ports, signal })
  }
}

/** Everything that the emulator does by itself. Answers how many vCPUs there are then. */
async function plugMissing(seat: Seat, { emulator, ports, target, onStep }: Task): Promise<number> {
  let count = await emulator.vcpus.count()
  noteVcpus(seat, count)
  for (; count < target; count++) {
    onStep(`plugging vCPU ${count}`)
    await ports.failpoint('vm.vcpus.before-plug')
    await emulator.vcpus.plug()
    await ports.failpoint('vm.vcpus.after-plug')
    noteVcpus(seat, count + 1)
    await tunePlugged(seat, ports)
  }
  return count
}

async function askForLast({ emulator, onStep }: Task, count: number): Promise<void> {
  onStep(`waiting for the guest to let go of vCPU ${count - 1}`)
  await emulator.vcpus.askForLast()
}

/** A turn in the seat, for as long as the VM runs and is to have this many. */
async function inSeat<T>(task: Task, work: (seat: Seat) => Promise<T>): Promise<T> {
  const { driver, target } = task
  return await takeWhenFree(driver, task, async (seat) => {
    const { run } = seat.record
    if (!run || seat.emulator !== task.emulator) throw notRunning(driver)
    if (run.vcpuTarget !== target) throw outdated(task)
    return await work(seat)
  })
}

async function forgetTarget({ driver, target, ports }: Task): Promise<void> {
  try {
    await driver.take('edit', async (seat) => {
      const { run } = seat.record
      if (run?.vcpuTarget === target) seat.update({ run: { ...run, vcpuTarget: undefined } })
    })
  } catch (error) {
    // The next daemon would go on with it, which does no harm.
    ports.log.warn({ vm: driver.view().record.name, err: error }, 'a number of vCPUs is still wanted')
  }
}

/** How far the guest went, as the end of a sentence. */
async function guestWords(task: Task): Promise<string> {
  const { before, target, driver } = task
  if (target < before) return `; its guest let go of ${before - target}`
  if (target === before) return ''
  if (driver.view().record.life.state !== 'running') return '; its guest sees them when it goes on'
  task.onStep('waiting for the guest to take them')
  const taken = await untilTaken(task)
  const online = await switchOn(task)
  if (online !== undefined) return `; its guest uses ${online}`
  const plugged = target - before
  return taken === plugged
    ? '; its guest has taken them'
    : `; its guest has taken ${taken} of the ${plugged} new ones so far`
}

async function untilTaken({ answers, before, target, ports, signal }: Task): Promise<number> {
  const deadlineMs = ports.clock.monotonicMs() + noticeTimeoutMs
  for (;;) {
    const leftMs = deadlineMs - ports.clock.monotonicMs()
    const taken = answers.taken(before, target)
    if (taken === target - before || leftMs <= 0) return taken
    await answers.next(leftMs, { ports, signal })
  }
}

/** Lets the agent switch on what has come. A guest without one may do so by itself. */
async function switchOn({ emulator, driver, ports }: Task): Promise<number | undefined> {
  if (!emulator.agent.isConnected()) return undefined
  try {
    return await emulator.agent.useAllVcpus()
  } catch (error) {
    ports.log.warn({ vm: driver.view().record.name, err: error }, 'the agent did not switch vCPUs on')
    return undefined
  }
}

function keeps({ driver, before, target }: Task, count: number, why: string): KvasirError {
  return new KvasirError(
    'guest-refused',
    `The guest of VM ${driver.view().record.name} keeps ${count} of ${before} vCPUs: ${why}. The VM has ${target} from its next boot.`,
    { details: { before, count, wanted: target } },
  )
}

function outdated({ driver, target }: Task): KvasirError {
  return new KvasirError(
    'cancelled',
    `VM ${driver.view().record.name} was meanwhile told to have another number of vCPUs, so ${target} is not waited for.`,
  )
}

function notRunning(driver: Driver): KvasirError {
  const { name, life } = driver.view().record
  return new KvasirError(
    'wrong-state',
    `VM ${name} is ${life.state}, so its vCPUs are not changed now; its next boot brings what its spec says.`,
    { details: { state: life.state } },
  )
}
