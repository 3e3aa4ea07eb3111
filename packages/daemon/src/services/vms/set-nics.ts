/**
 * Plugs NICs into a running VM, takes them away and puts them on other networks, and says how far the guest went.
 *
 *     row: spec, `movingNics` ─▶ the network knows it ─▶ plug: tap, back end, device ─▶ row: the run has it ───▶ not moving
 *                             ├▶ ask the guest ─▶ it let go ─▶ remove the back end, and the tap with it ─────▶ row ──┤
 *                             └▶ cable out ─▶ row: the other network ─▶ both are made again, the tap moves ─▶ in ──┘
 *
 * Invariant: `bootedSpec.nics` of the run are the NICs that the emulator has, each on the network that its tap is on, or is put on by whoever
 * makes that network again. A network's rules for a NIC are there before its tap is. A daemon that dies in between leaves the names, and the
 * next one goes on.
 */
import { KvasirError, type NicSpec } from '@kvasir/contract'
import { portCount, portNumber } from '../../model/pci/layout.ts'
import { deviceId } from '../../model/qemu/ids.ts'
import { planNic } from '../../model/qemu/nic.ts'
import { isSameCard, nicOf } from '../../model/vm/nic-rules.ts'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { VmRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { nicNetworks, wireNics } from '../networks/nic-networks.ts'
import { requireNetwork } from '../networks/show-network.ts'
import { withNicOf, withoutMovingNic, withPluggedNic } from './moved-nics.ts'
import { NicAnswers } from './nic-answers.ts'
import { releaseTimeoutMs, takeNicAway } from './take-nic-away.ts'
import { longestWaitMs, takeWhenFree } from './take-when-free.ts'

/** What plugging or moving may take, which no guest has a say in. */
const plugMs = 60_000
/** How long a cable is out: Linux tells its programs of a link that is down with up to a second of delay (net/core/link_watch.c). */
const cableOutMs = 2_000

/** The longest that the whole of it may take for this many NICs. */
export function nicsDeadlineMs(nics: number): number {
  return longestWaitMs + (releaseTimeoutMs + plugMs) * nics
}

export interface NicWork {
  readonly signal: AbortSignal
  readonly onStep: (step: string) => void
}

export interface NicTask extends NicWork, Pick<Context, 'ports' | 'networks'> {
  readonly driver: Driver
  readonly emulator: Emulator
  readonly answers: NicAnswers
  /** A turn in the seat, for as long as the VM runs. */
  readonly inSeat: <T>(work: (seat: Seat) => Promise<T>) => Promise<T>
}

/** Does it, NIC by NIC. Answers what came of it; the first refusal when one or more did not come, go or move. */
export async function setNics(driver: Driver, context: Context, work: NicWork): Promise<string> {
  const { emulator } = driver.view()
  if (!emulator) throw notRunning(driver)
  using answers = new NicAnswers(emulator)
  const { ports, networks } = context
  const inSeat: NicTask['inSeat'] = (inside) =>
    takeWhenFree(driver, { ports, signal: work.signal }, async (seat) => {
      if (!seat.record.run || seat.emulator !== emulator) throw notRunning(driver)
      return await inside(seat)
    })
  const task: NicTask = { ...work, driver, ports, networks, emulator, answers, inSeat }
  const words: string[] = []
  const refusals: unknown[] = []
  for (let nic = nextNic(driver); nic !== undefined; nic = nextNic(driver)) {
    try {
      words.push(await moveNic(nic, task))
    } catch (error) {
      // A daemon that leaves has given nothing up.
      if (error instanceof KvasirError && error.code === 'shutting-down') throw error
      await giveUp(nic, task)
      refusals.push(stillWanted(nic, error, driver.view().record))
    }
  }
  if (refusals.length > 0) throw refusals[0]
  return words.join(' ')
}

function nextNic(driver: Driver): string | undefined {
  return driver.view().record.run?.movingNics?.[0]
}

async function moveNic(name: string, task: NicTask): Promise<string> {
  if (nicOf(task.driver.view().record.spec, name) === undefined) return await takeNicAway(name, task)
  return await task.inSeat(async (seat) => {
    const { run, spec } = seat.record
    const [there, nic] = [run && nicOf(run.bootedSpec, name), nicOf(spec, name)]
    if (!run || !nic) return ''
    const isThere = there !== undefined && (await task.emulator.nics.present([name])).length > 0
    if (!isThere) return await plug(seat, nic, task)
    if (isSameCard(there, nic)) return await moveToNetwork(seat, { there, nic }, task)
    throw new KvasirError('wrong-state', `VM ${seat.record.name} still has another NIC ${name}.`)
  })
}

async function plug(seat: Seat, nic: NicSpec, task: NicTask): Promise<string> {
  const { emulator, ports, onStep } = task
  const { record } = seat
  requirePort(record, nic.name)
  onStep(`plugging NIC ${nic.name}`)
  const { spec, hardware } = record
  const input = {
    name: record.name,
    uuid: record.id,
    spec,
    hardware,
    networks: nicNetworks({ nics: [nic] }, ports),
    accelerator: record.run?.accelerator ?? 'tcg',
    vhostNet: ports.host.hasVhostNet(),
  }
  await wireNics({ spec: { ...spec, nics: [nic] } }, task, () => true)
  await ports.failpoint('vm.nics.before-plug')
  await emulator.nics.plug(planNic(input, nic.name))
  if (nic.link === 'down') await emulator.nics.setLinks(new Map([[nic.name, nic.link]]))
  await ports.failpoint('vm.nics.after-plug')
  const { run } = seat.record
  if (run) seat.update({ run: withPluggedNic(run, { nic, hardware, emulator: emulator.record }) })
  return `NIC ${nic.name} is plugged.`
}

/** A NIC that was given a place which the emulator was started without gets it at the next boot. */
function requirePort({ name, hardware, run }: VmRecord, nic: string): void {
  const address = hardware.pci[deviceId('nic', nic)]
  const booted = run?.bootedHardware
  if (address && booted && portNumber(address) < portCount(booted)) return
  throw new KvasirError(
    'unsupported',
    `VM ${name} has no slot left to plug NIC ${nic} into, so the NIC is not plugged.`,
    { details: { nic } },
  )
}

/** Safe to repeat: who finds it done sees to it that the guest has noticed. */
async function moveToNetwork(
  seat: Seat,
  { there, nic }: { readonly there: NicSpec; readonly nic: NicSpec },
  { emulator, ports, networks, signal, onStep }: NicTask,
): Promise<string> {
  const { network = '' } = nic
  nicNetworks({ nics: [nic] }, ports) // It is started.
  onStep(`moving NIC ${nic.name} to network ${network}`)
  await ports.failpoint('vm.nics.before-move')
  await emulator.nics.setLinks(new Map([[nic.name, 'down']]))
  try {
    await networks.inTurn(async () => {
      const { run } = seat.record
      if (run) seat.update({ run: withNicOf(run, nic) })
      await ports.failpoint('vm.nics.after-move-row')
      // The rules of the new network are there before the tap is; those of the old one go when it is not.
      for (const name of new Set([network, there.network ?? network])) {
        const row = requireNetwork(name, ports)
        if (row.started && row.phase === 'ready') await networks.raise(row)
      }
    })
    await ports.failpoint('vm.nics.after-move')
    if (nic.link === 'up') await ports.clock.sleep(cableOutMs, signal)
  } finally {
    await emulator.nics.setLinks(new Map([[nic.name, nic.link]]))
  }
  const { run } = seat.record
  if (run) seat.update({ run: withoutMovingNic(run, nic.name) })
  return `NIC ${nic.name} is on network ${network}.`
}

async function giveUp(nic: string, { driver, ports }: NicTask): Promise<void> {
  try {
    await driver.take('edit', async (seat) => {
      if (seat.record.run) seat.update({ run: withoutMovingNic(seat.record.run, nic) })
    })
  } catch (error) {
    // The next daemon would go on with it, which does no harm. What is not written down would be tried for ever.
    ports.log.warn({ vm: driver.view().record.name, nic, err: error }, 'a NIC is still to come or go')
    throw error
  }
}

/** The spec is what was asked for, whatever became of it: who is told of a NIC that did not come is told that it will. */
function stillWanted(nic: string, error: unknown, { name, spec, run }: VmRecord): unknown {
  const isThere = run !== undefined && nicOf(run.bootedSpec, nic) !== undefined
  if (!(error instanceof KvasirError) || nicOf(spec, nic) === undefined || isThere) return error
  return new KvasirError(
    error.code,
    `${error.message} NIC ${nic} is in the spec of VM ${name} all the same and comes with its next boot; kvasir vm nic remove ${name} ${nic} takes it out.`,
    { details: { ...error.details, nic }, cause: error },
  )
}

function notRunning(driver: Driver): KvasirError {
  const { name, life } = driver.view().record
  return new KvasirError(
    'wrong-state',
    `VM ${name} is ${life.state}, so its NICs are not changed now; its next boot brings what its spec says.`,
    { details: { state: life.state } },
  )
}
