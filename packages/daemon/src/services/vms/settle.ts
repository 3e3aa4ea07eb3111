/**
 * Settling: what follows when a guest or an emulator does something by itself.
 *
 * Events are hints: but for what an event alone can tell (who shut down, which watchdog action), the emulator is asked for its state
 * and that decides (model/vm/lifecycle-decisions.ts). An emulator that does not answer makes the VM `unknown`, nothing else.
 */
import { KvasirError } from '@kvasir/contract'
import { isOff } from '../../model/vm/is-off.ts'
import {
  type Circumstances,
  type Decision,
  decide,
  type Happening,
  mostRestarts,
  restartWindowSeconds,
} from '../../model/vm/lifecycle-decisions.ts'
import type { Observation, Seat, Settle } from '../../ports/drivers.ts'
import type { Emulator, EmulatorEvent, EmulatorExit } from '../../ports/emulators.ts'
import type { Emit } from '../../ports/events.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'
import { noteSilence, recoverVm } from '../recovery/recover-vm.ts'
import { devicesOfDisk } from './disk-answers.ts'
import { endEmulator } from './end-emulator.ts'
import { lookForHelpers, lookForTaps, noteLostNetwork, noteLostVf } from './lost-devices.ts'
import { answerIn } from './moving-kind.ts'
import { movingKinds } from './moving-kinds.ts'
import { type PoolTrouble, silentReason } from './pool-trouble.ts'
import { lookForController } from './set-devices.ts'
import { finishWhenGone } from './set-disks.ts'
import { noteVcpus } from './set-vcpus.ts'
import { giveUpAsking } from './stop-vm.ts'
import { finishGone } from './take-away.ts'

/** How long a lost emulator is asked before it counts as not answering. */
const readoptTimeoutMs = 2_000
/** The part of an emulator's last words that is kept with the VM. */
const keptLogCharacters = 2_000

export interface SettleParts {
  readonly ports: Ports
  readonly emit: Emit
  /** Starts a VM again, by policy. Called outside the seat. */
  readonly restart: (id: string) => void
  /** Whether a job waits for the guest of this VM to shut down or to reboot. */
  readonly isAwaited: (id: string) => boolean
  /** What is amiss with the pools of a VM's disks, as far as it is known. */
  readonly poolTrouble: (record: VmRecord) => readonly PoolTrouble[]
  /** Goes on with changes of vCPUs, disks and NICs that are not finished. Called outside the seat. */
  readonly resumeGuestWork: (id: string) => void
}

/** The settler of all VMs. */
export function createSettle(parts: SettleParts): Settle {
  const restarts = new Map<string, readonly number[]>()

  function circumstances(seat: Seat): Circumstances {
    const now = parts.ports.clock.monotonicMs()
    const recent = (restarts.get(seat.record.id) ?? []).filter((at) => now - at < restartWindowSeconds * 1000)
    restarts.set(seat.record.id, recent)
    return {
      lifecycle: seat.record.spec.lifecycle,
      stopAsked: seat.record.intent === 'stop',
      recentRestarts: recent.length,
    }
  }

  function noteRestart(id: string): void {
    restarts.set(id, [...(restarts.get(id) ?? []), parts.ports.clock.monotonicMs()].slice(-mostRestarts))
  }

  return async (seat, observation) => {
    if (seat.record.phase !== 'ready') return
    try {
      await settle(seat, observation)
    } finally {
      if (seat.record.intent === 'restart') setImmediate(() => parts.restart(seat.record.id))
    }
  }

  async function settle(seat: Seat, observation: Observation): Promise<void> {
    if (!seat.emulator) {
      if (observation.kind === 'check') await readopt(seat, parts)
      return
    }
    const happening = await happeningOf(seat, seat.emulator, observation, parts)
    if (!happening) return
    if (seat.record.intent === 'reboot' && isShutdown(happening)) {
      await rebootInPlace(seat, seat.emulator)
      return
    }
    const decision = decide(happening, circumstances(seat))
    const exit = observation.kind === 'ended' ? observation.exit : undefined
    if (decision.kind === 'restart') noteRestart(seat.record.id)
    await carryOut(seat, decision, { parts, exit })
  }
}

async function happeningOf(
  seat: Seat,
  emulator: Emulator,
  observation: Observation,
  parts: SettleParts,
): Promise<Happening | undefined> {
  if (observation.kind === 'ended') {
    const { code, signal } = observation.exit
    return { kind: 'exited', code, signal }
  }
  if (observation.kind === 'event') {
    const { event } = observation
    switch (event.kind) {
      case 'shutdown':
      case 'panicked':
      case 'watchdog':
      case 'reset':
        return event
      case 'agent':
        parts.emit('vm.guest', seat.record.name, {
          uuid: seat.record.id,
          agent: event.connected ? 'connected' : 'absent',
        })
        return undefined
      case 'network-lost':
        noteLostNetwork(seat, event.netdev, parts)
        return undefined
      case 'balloon':
      case 'plugged':
      case 'powering-down':
        return undefined
      case 'disk':
        if (event.answer.isGone) await finishGoneDisk(seat, event.answer.device, parts.ports)
        return undefined
      case 'nic':
      case 'host-device':
      case 'channel':
      case 'share':
      case 'device':
        await finishMoved(seat, event, parts)
        return undefined
      case 'vcpus':
        noteVcpus(seat, await emulator.vcpus.count())
        return undefined
      case 'stopped':
      case 'resumed':
      case 'io-error':
        break
    }
  }
  await lookForHelpers(seat, emulator, parts)
  // One that does not answer is asked again.
  await lookForTaps(seat, emulator, parts).catch((error: unknown) =>
    parts.ports.log.warn({ vm: seat.record.name, err: error }, 'the taps of a VM were not looked at'),
  )
  await lookForController(seat, emulator, parts.ports)
  return await askRunState(seat, emulator, parts)
}

/** The guest let go of a disk: when it was asked, later when it had refused, or by itself. */
async function finishGoneDisk(seat: Seat, device: string, ports: Ports): Promise<void> {
  const disks = seat.record.run?.bootedSpec.disks ?? []
  const gone = disks.find(({ name }) => devicesOfDisk(name).includes(device))
  if (gone) await finishWhenGone(seat, gone.name, ports)
}

/** The same of devices of other kinds. */
async function finishMoved(seat: Seat, event: EmulatorEvent, parts: SettleParts): Promise<void> {
  const { run } = seat.record
  for (const kind of run ? movingKinds : []) {
    const answer = answerIn(kind, event)
    const names = answer?.isGone && run ? kind.names(run.bootedSpec) : []
    const gone = names.find((name) => kind.idOf(name) === answer?.device)
    if (gone === undefined || !run) continue
    await finishGone(seat, gone, { kind, ports: parts.ports })
    const isWanted = kind.names(seat.record.spec).includes(gone) && !run[kind.field]?.includes(gone)
    if (kind.field === 'movingNics' && run.bootedHardware?.vfs?.[gone] && isWanted)
      noteLostVf(seat, gone, parts)
  }
}

async function askRunState(
  seat: Seat,
  emulator: Emulator,
  parts: SettleParts,
): Promise<Happening | undefined> {
  try {
    const runState = await emulator.runState()
    if (runState !== 'io-error') return { kind: 'run-state', runState }
    const { kind, disk } = await emulator.ioStatus()
    return { kind: 'run-state', runState, context: { ioError: { disk, noSpace: kind === 'nospace' } } }
  } catch (error) {
    if (!(error instanceof KvasirError)) throw error
    noteSilence(seat, silentReason(parts.poolTrouble(seat.record), 'its emulator runs but does not answer'))
    return undefined
  }
}

function isShutdown(happening: Happening): boolean {
  return (
    happening.kind === 'shutdown' || (happening.kind === 'run-state' && happening.runState === 'shutdown')
  )
}

/** A reboot that was asked for by the power button: the guest is off, and goes on from the beginning. */
async function rebootInPlace(seat: Seat, emulator: Emulator): Promise<void> {
  await emulator.reset()
  await emulator.resume()
  seat.update({ intent: 'none', life: seat.life('running', 'it was rebooted') })
}

async function carryOut(
  seat: Seat,
  decision: Decision,
  { parts, exit }: { readonly parts: SettleParts; readonly exit: EmulatorExit | undefined },
): Promise<void> {
  switch (decision.kind) {
    case 'none':
      return
    case 'note':
      if (seat.record.life.state === 'running')
        seat.update({ life: { ...seat.record.life, reason: decision.reason } })
      return
    case 'report':
      report(seat, decision, parts)
      return
    case 'restart':
      await endEmulator(seat, parts.ports, {
        state: 'shutoff',
        reason: `${decision.reason}; it is being started again`,
        restarts: true,
      })
      return
    case 'end':
      await endEmulator(seat, parts.ports, {
        state: decision.state,
        reason: decision.reason,
        ...(decision.state === 'crashed' && exit ? { exit: exitOf(exit) } : {}),
      })
      return
  }
}

function exitOf(exit: EmulatorExit): { code?: number; signal?: string; log: string } {
  return {
    ...(exit.code === undefined ? {} : { code: exit.code }),
    ...(exit.signal === undefined ? {} : { signal: exit.signal }),
    log: exit.log.slice(-keptLogCharacters),
  }
}

/** Writes what the emulator says, unless the row says it already or says more. */
function report(
  seat: Seat,
  seen: { readonly state: Seat['record']['life']['state']; readonly reason: string },
  parts: SettleParts,
): void {
  const { life, intent } = seat.record
  if ((intent === 'stop' || intent === 'reboot') && seen.state === 'running') {
    const asked = intent === 'stop' ? 'shut down' : 'reboot'
    if (life.state !== 'stopping')
      seat.update({ life: seat.life('stopping', `its guest was asked to ${asked}`) })
    else if (isOverdue(seat, parts)) giveUpAsking(seat, 'and did not')
    return
  }
  const isSame = life.state === seen.state && (seen.state !== 'paused' || seen.reason === 'it was paused')
  if (isSame || (life.state === seen.state && life.reason === seen.reason)) return
  seat.update({ life: seat.life(seen.state, seen.reason) })
}

/** A guest that was asked, by a daemon that has ended since, has as long as it has by its spec. */
function isOverdue({ record }: Seat, { ports, isAwaited }: SettleParts): boolean {
  const askedMs = Date.parse(ports.clock.now()) - Date.parse(record.life.since)
  return askedMs > record.spec.lifecycle.shutdownTimeoutSeconds * 1000 && !isAwaited(record.id)
}

/** A VM that nobody follows, though it is not off: its emulator can be reached, or not yet, or is known to be gone. */
async function readopt(seat: Seat, parts: SettleParts): Promise<void> {
  if (isOff(seat.record)) return
  await recoverVm(seat, parts, { timeoutMs: readoptTimeoutMs })
  if (seat.emulator) setImmediate(() => parts.resumeGuestWork(seat.record.id))
}
