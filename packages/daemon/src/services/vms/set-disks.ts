/**
 * Plugs disks into a running VM and takes them away, and says how far the guest went.
 *
 *     row: spec, `movingDisks` ─▶ plug: files, nodes, I/O thread, device ─▶ row: the run has it ────────────────────▶ not moving
 *                              └▶ ask the guest ─▶ it let go ─▶ remove nodes, I/O thread, files ─▶ row: the run has it not ──┘
 *
 * Invariant: `bootedSpec.disks` of the run are the disks that the emulator has; one that is taken away stays there until its last file
 * is closed, so its volume is in use until then. A daemon that dies in between leaves the names, and the next one goes on. The seat is
 * given back while the guest is waited for.
 */

import { isCdrom, KvasirError } from '@kvasir/contract'
import { portCount, portNumber, slotOf } from '../../model/pci/layout.ts'
import { planDisk } from '../../model/qemu/disk.ts'
import { isSameValue } from '../../model/vm/spec-fields.ts'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'
import { forgetNotes } from '../checkpoints/put-away.ts'
import { namingVolume } from '../volumes/damaged-volume.ts'
import { askServers } from './ask-servers.ts'
import { changeMedium } from './change-medium.ts'
import { DiskAnswers } from './disk-answers.ts'
import { withoutGoneDisk, withPluggedDisk } from './moved-disks.ts'
import { withoutMoving } from './names-to-move.ts'
import { diskInput } from './prepare-start.ts'
import { longestWaitMs, takeWhenFree } from './take-when-free.ts'
import { tunePlugged } from './tune-threads.ts'

/** How long a guest may take to let go of one disk. */
const releaseTimeoutMs = 30_000
/** Events are hints: the emulator is asked this often whether they came. */
const lookMs = 1_000
/** What plugging may take, which no guest has a say in. */
const plugMs = 30_000

/** The longest that the whole of it may take for this many disks. */
export function disksDeadlineMs(disks: number): number {
  return longestWaitMs + (releaseTimeoutMs + plugMs) * disks
}

export interface DiskWork {
  readonly signal: AbortSignal
  readonly onStep: (step: string) => void
}

interface Task extends DiskWork {
  readonly driver: Driver
  readonly ports: Ports
  readonly emulator: Emulator
  readonly answers: DiskAnswers
}

/** Does it, disk by disk. Answers what came of it; the first refusal when one or more did not come or go. */
export async function setDisks(driver: Driver, ports: Ports, work: DiskWork): Promise<string> {
  const { emulator } = driver.view()
  if (!emulator) throw notRunning(driver)
  using answers = new DiskAnswers(emulator)
  const task: Task = { ...work, driver, ports, emulator, answers }
  const words: string[] = []
  const refusals: unknown[] = []
  for (let disk = nextDisk(driver); disk !== undefined; disk = nextDisk(driver)) {
    try {
      words.push(await moveDisk(disk, task))
    } catch (error) {
      // A daemon that leaves has given nothing up.
      if (error instanceof KvasirError && error.code === 'shutting-down') throw error
      await giveUp(disk, task)
      refusals.push(stillWanted(disk, error, driver.view().record))
    }
  }
  if (refusals.length > 0) throw refusals[0]
  return words.join(' ')
}

function nextDisk(driver: Driver): string | undefined {
  return driver.view().record.run?.movingDisks?.[0]
}

async function moveDisk(disk: string, task: Task): Promise<string> {
  const { spec } = task.driver.view().record
  const isWanted = spec.disks.some(({ name }) => name === disk)
  return isWanted ? await inSeat(task, (seat) => plug(seat, disk, task)) : await takeAway(disk, task)
}

async function plug(seat: Seat, name: string, { emulator, ports, onStep }: Task): Promise<string> {
  const { record } = seat
  const { run, spec, hardware } = record
  const disk = spec.disks.find((candidate) => candidate.name === name)
  if (!run || !disk) return ''
  const there = run.bootedSpec.disks.find((candidate) => candidate.name === name)
  if (there && (await emulator.disks.present([name])).length > 0) {
    if (isCdrom(there) && isCdrom(disk))
      return await changeMedium(seat, { there, disk }, { emulator, ports }).catch((error: unknown) => {
        throw namingVolume(error, ports)
      })
    if (!isSameValue(there, disk))
      throw new KvasirError('wrong-state', `VM ${record.name} still has another disk ${name}.`)
    seat.update({ run: withoutMoving(run, 'movingDisks', name) })
    return `Disk ${name} stays.`
  }
  requirePort(record, name)
  onStep(`plugging disk ${name}`)
  await askServers({ disks: [disk] }, ports)
  await ports.failpoint('vm.disks.before-plug')
  const plan = planDisk(await diskInput(record, disk, ports), name)
  await forgetNotes({ disks: [disk] }, ports)
  await emulator.disks.plug(plan).catch((error: unknown) => {
    throw namingVolume(error, ports)
  })
  await emulator.disks.throttle(new Map([[name, disk.throttle]]))
  await ports.failpoint('vm.disks.after-plug')
  seat.update({ run: withPluggedDisk(run, { disk, hardware, emulator: emulator.record }) })
  await tunePlugged(seat, ports)
  return `Disk ${name} is plugged.`
}

/** A disk that was given a place which the emulator was started without gets it at the next boot. */
function requirePort({ name, spec, hardware, run }: VmRecord, disk: string): void {
  const wanted = spec.disks.find((candidate) => candidate.name === disk)
  const address = wanted && hardware.pci[slotOf(wanted) ?? '']
  const booted = run?.bootedHardware
  if (address && booted && portNumber(address) < portCount(booted)) return
  throw new KvasirError(
    'unsupported',
    `VM ${name} has no slot left to plug disk ${disk} into, so the disk is not plugged.`,
    { details: { disk } },
  )
}

async function takeAway(disk: string, task: Task): Promise<string> {
  const { driver, answers, ports, signal, onStep } = task
  onStep(`waiting for the guest to let go of disk ${disk}`)
  if (await inSeat(task, (seat) => askOrFinish(seat, disk, task))) return `Disk ${disk} is gone.`
  const deadlineMs = ports.clock.monotonicMs() + releaseTimeoutMs
  for (;;) {
    const { record } = driver.view()
    if (answers.hasRefused(disk)) throw keeps(task, disk, 'it refuses to let go of it')
    if (record.life.state === 'paused')
      throw keeps(task, disk, 'it stands still, and is asked again when it goes on')
    const leftMs = deadlineMs - ports.clock.monotonicMs()
    if (leftMs <= 0) throw keeps(task, disk, `it did not let go of it in ${releaseTimeoutMs / 1000} s`)
    await answers.next(Math.min(lookMs, leftMs), { ports, signal })
    if (await inSeat(task, (seat) => finishWhenGone(seat, disk, ports))) return `Disk ${disk} is gone.`
  }
}

/** Asks the guest, unless it has let go of the disk already. Answers whether it has. */
async function askOrFinish(seat: Seat, disk: string, { emulator, ports }: Task): Promise<boolean> {
  if (await finishWhenGone(seat, disk, ports)) return true
  await ports.failpoint('vm.disks.before-ask')
  await emulator.disks.askFor(disk)
  await ports.failpoint('vm.disks.after-ask')
  return false
}

/** Removes what is left of a disk once the guest has let go of it, asked or by itself. Answers whether it has. */
export async function finishWhenGone(seat: Seat, disk: string, ports: Ports): Promise<boolean> {
  const { emulator } = seat
  if (!emulator || (await emulator.disks.present([disk])).length > 0) return false
  await ports.failpoint('vm.disks.after-release')
  await emulator.disks.remove(disk)
  await ports.failpoint('vm.disks.after-remove')
  const { run } = seat.record
  if (run) seat.update({ run: withoutGoneDisk(run, { disk, emulator: emulator.record }) })
  return true
}

/** A turn in the seat, for as long as the VM runs. */
async function inSeat<T>(task: Task, work: (seat: Seat) => Promise<T>): Promise<T> {
  return await takeWhenFree(task.driver, task, async (seat) => {
    if (!seat.record.run || seat.emulator !== task.emulator) throw notRunning(task.driver)
    return await work(seat)
  })
}

async function giveUp(disk: string, { driver, ports }: Task): Promise<void> {
  try {
    await driver.take('edit', async (seat) => {
      if (seat.record.run) seat.update({ run: withoutMoving(seat.record.run, 'movingDisks', disk) })
    })
  } catch (error) {
    // The next daemon would go on with it, which does no harm. What is not written down would be tried for ever.
    ports.log.warn({ vm: driver.view().record.name, disk, err: error }, 'a disk is still to come or go')
    throw error
  }
}

/** The spec is what was asked for, whatever became of it: who is told of a disk that did not come is told that it will. */
function stillWanted(disk: string, error: unknown, { name, spec, run }: VmRecord): unknown {
  const has = (one: VmRecord['spec'] | undefined) => one?.disks.some((candidate) => candidate.name === disk)
  if (!(error instanceof KvasirError) || !has(spec) || has(run?.bootedSpec)) return error
  return new KvasirError(
    error.code,
    `${error.message} Disk ${disk} is in the spec of VM ${name} all the same and comes with its next boot; kvasir vm disk remove ${name} ${disk} takes it out.`,
    { details: { ...error.details, disk }, cause: error },
  )
}

function keeps({ driver }: Task, disk: string, why: string): KvasirError {
  return new KvasirError(
    'guest-refused',
    `The guest of VM ${driver.view().record.name} keeps disk ${disk}: ${why}. It goes with its next boot, or before when the guest lets go.`,
    { details: { disk } },
  )
}

function notRunning(driver: Driver): KvasirError {
  const { name, life } = driver.view().record
  return new KvasirError(
    'wrong-state',
    `VM ${name} is ${life.state}, so its disks are not changed now; its next boot brings what its spec says.`,
    { details: { state: life.state } },
  )
}
