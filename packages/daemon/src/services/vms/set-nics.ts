/**
 * Plugs NICs into a running VM, takes them away and puts them on other networks, and says how far the guest went.
 *
 *     row: spec, `movingNics` ─▶ the network knows it ─▶ plug: tap, back end, device ─▶ row: the run has it ───▶ not moving
 *                             ├▶ ask the guest ─▶ it let go ─▶ remove the back end, and the tap with it ─────▶ row ──┤
 *                             └▶ cable out ─▶ row: the other network ─▶ both are made again, the tap moves ─▶ in ──┘
 *
 * Invariant: `bootedSpec.nics` of the run are the NICs that the emulator has, each on the network that its tap is on, or is put on by whoever
 * makes that network again. A network's rules for a NIC are there before its tap is. What is the same for other devices is in set-moving.ts.
 */
import { KvasirError, type NicSpec } from '@kvasir/contract'
import { portCount, portNumber } from '../../model/pci/layout.ts'
import { deviceId } from '../../model/qemu/ids.ts'
import { planNic } from '../../model/qemu/nic.ts'
import { hasSameHelper, isSameCard, nicOf } from '../../model/vm/nic-rules.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { VmRecord } from '../../ports/store.ts'
import { nicNetworks, requireUnheldLinks, wireNics } from '../networks/nic-networks.ts'
import { requireNetwork } from '../networks/show-network.ts'
import { withNicOf, withoutGoneNic, withPluggedNic } from './moved-nics.ts'
import type { MovingKind, MovingTask } from './moving-kind.ts'
import { withoutMoving } from './names-to-move.ts'
import { giveVfBack, isOnSriov, plugVf } from './plug-vf.ts'
import { tunePlugged } from './tune-threads.ts'

/** What plugging or moving may take, which no guest has a say in. */
const plugMs = 60_000
/** How long a cable is out: Linux tells its programs of a link that is down with up to a second of delay (net/core/link_watch.c). */
const cableOutMs = 2_000

export const nicKind: MovingKind = {
  job: 'vm.set-nics',
  noun: 'NIC',
  takeOut: (vm, name) => `nic remove ${vm} ${name}`,
  field: 'movingNics',
  event: 'nic',
  bringMs: plugMs,
  points: {
    beforeAsk: 'vm.nics.before-ask',
    afterAsk: 'vm.nics.after-ask',
    afterRelease: 'vm.nics.after-release',
    afterRemove: 'vm.nics.after-remove',
  },
  names: ({ nics }) => nics.map(({ name }) => name),
  idOf: (name) => deviceId('nic', name),
  part: (emulator) => emulator.nics,
  bring: bringNic,
  async remove(seat, emulator, name) {
    if (!(await giveVfBack(seat, emulator, name))) await emulator.nics.remove(name)
  },
  without: (run, { name, emulator }) => withoutGoneNic(run, { nic: name, emulator }),
}

async function bringNic(seat: Seat, name: string, task: MovingTask): Promise<string> {
  const { run, spec } = seat.record
  const [there, nic] = [run && nicOf(run.bootedSpec, name), nicOf(spec, name)]
  if (!run || !nic) return ''
  const isThere = there !== undefined && (await task.emulator.nics.present([name])).length > 0
  if (!isThere) {
    requirePort(seat.record, name)
    return await (isOnSriov(nic, task.ports) ? plugVf : plug)(seat, nic, task)
  }
  const vf = run.bootedHardware?.vfs?.[name]
  const isSame = isSameCard(there, nic) && there.network === nic.network && hasSameHelper(there, nic)
  if ((vf || nic.network === undefined) && isSame) {
    seat.update({ run: withoutMoving(run, 'movingNics', name) })
    return `NIC ${name} stays.`
  }
  if (!vf && nic.network !== undefined && isSameCard(there, nic))
    return await moveToNetwork(seat, { there, nic }, task)
  throw new KvasirError('wrong-state', `VM ${seat.record.name} still has another NIC ${name}.`)
}

async function plug(seat: Seat, nic: NicSpec, task: MovingTask): Promise<string> {
  const { emulator, ports, onStep } = task
  const { record } = seat
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
  requireUnheldLinks({ name: record.name, spec: { ...spec, nics: [nic] } }, task)
  await wireNics({ spec: { ...spec, nics: [nic] } }, task, () => true)
  await ports.failpoint('vm.nics.before-plug')
  await emulator.nics.plug(planNic(input, nic.name))
  if (nic.link === 'down') await emulator.nics.setLinks(new Map([[nic.name, nic.link]]))
  await ports.failpoint('vm.nics.after-plug')
  const { run } = seat.record
  if (run) seat.update({ run: withPluggedNic(run, { nic, hardware, emulator: emulator.record }) })
  if (emulator.record.plan.ids.nics[nic.name]?.vhost) await tunePlugged(seat, ports)
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
  { emulator, ports, networks, signal, onStep }: MovingTask,
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
  if (run) seat.update({ run: withoutMoving(run, 'movingNics', nic.name) })
  return `NIC ${nic.name} is on network ${network}.`
}
