/**
 * A NIC on a network of mode sriov comes to a guest that runs: a virtual function is chosen and written down, lent with what its physical
 * function sets it to, and plugged as a device of the host; and goes back when the guest has let go of it.
 *
 *     row: which one it is ─▶ plug: noted, vfio-pci, MAC address, VLAN, rate ..., memory locked, the device ─▶ row: the run has it
 *     the guest let go ─▶ settings as they were ─▶ its driver, or none, has it again ─▶ row: the run has it not
 *
 * Which one it is, is decided once: no other VM gets it, and the next daemon hands over, or takes back, the same one.
 */
import type { NicSpec } from '@kvasir/contract'
import type { ChosenVf } from '../../model/devices/choose-vfs.ts'
import { planVf } from '../../model/qemu/vf-nic.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import { chooseNicVfs } from '../host/choose-nic-vfs.ts'
import { keptBy, requireUnlent } from '../host/host-devices.ts'
import { nicNetworks } from '../networks/nic-networks.ts'
import { withChosenVf, withoutChosenVf, withPluggedNic } from './moved-nics.ts'
import type { MovingTask } from './moving-kind.ts'

/** How often one is chosen again that another VM was given meanwhile. */
const mostChoices = 8

/** What follows where there is no virtual function for it. */
export const notPlugged = 'the NIC is not plugged'

/** Whether a NIC is to be a virtual function. */
export function isOnSriov({ network }: NicSpec, { store }: Pick<Ports, 'store'>): boolean {
  return network !== undefined && store.networks.findByName(network)?.sriov !== undefined
}

/** Chooses one, hands it over and writes that down. Safe to repeat. */
export async function plugVf(seat: Seat, nic: NicSpec, task: MovingTask): Promise<string> {
  const { emulator, ports, onStep } = task
  const networks = nicNetworks({ nics: [nic] }, ports) // It is started.
  onStep(`choosing a virtual function for NIC ${nic.name}`)
  const vf = await chooseFor(seat, nic, task)
  await ports.failpoint('vm.nic-vfs.after-row')
  const { name, id: uuid, spec } = seat.record
  const hardware = { ...seat.record.hardware, vfs: { [nic.name]: vf } }
  const plan = planVf({ name, uuid, spec: { ...spec, nics: [nic] }, hardware, networks }, nic.name)
  onStep(`handing over ${vf.address} as NIC ${nic.name}, and locking the memory of the guest`)
  try {
    await ports.failpoint('vm.nics.before-plug')
    await emulator.hostDevices.plug(plan)
    await ports.failpoint('vm.nics.after-plug')
  } catch (error) {
    await forget(seat, nic.name, task)
    throw error
  }
  const { run } = seat.record
  if (run) seat.update({ run: withPluggedNic(run, { nic, hardware, emulator: emulator.record }) })
  return `NIC ${nic.name} is ${vf.address} of ${vf.pf}, and plugged.`
}

/** Gives back what a NIC was that the guest has let go of; safe to repeat. Answers whether it was a virtual function. */
export async function giveVfBack(
  { record }: Pick<Seat, 'record'>,
  emulator: Emulator,
  name: string,
): Promise<boolean> {
  const address = record.run?.bootedHardware?.vfs?.[name]?.address
  if (address === undefined) return false
  await emulator.hostDevices.remove({ name, address })
  return true
}

/** The one that was chosen before, or one that is chosen and written down now. */
async function chooseFor(seat: Seat, nic: NicSpec, { ports, drivers }: MovingTask): Promise<ChosenVf> {
  const { record } = seat
  const before = record.run?.bootedHardware?.vfs?.[nic.name]
  if (before !== undefined) return before
  for (let choices = 1; ; choices++) {
    const how = { taken: keptBy(record), otherwise: notPlugged, ports }
    const vf = (await chooseNicVfs(record, { nics: [nic] }, how))?.[nic.name]
    if (vf === undefined) throw new TypeError(`No virtual function was chosen for NIC ${nic.name}.`)
    try {
      requireUnlent(record, { ...record.hardware, vfs: { [nic.name]: vf } }, drivers)
    } catch (error) {
      // Another VM was given it meanwhile; which it is, is chosen among those that are left.
      if (choices < mostChoices) continue
      throw error
    }
    if (record.run) seat.update({ run: withChosenVf(record.run, nic.name, vf) })
    return vf
  }
}

/** What did not come is the host's again, unless it did come and only its telling failed. */
async function forget(seat: Seat, name: string, { emulator }: MovingTask): Promise<void> {
  const isThere = (await emulator.nics.present([name])).length > 0
  if (!isThere && seat.record.run) seat.update({ run: withoutChosenVf(seat.record.run, name) })
}
