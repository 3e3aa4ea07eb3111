/**
 * Hands devices of the host to a VM that runs, and takes them back.
 *
 *     row: which device it is ─▶ plug: its driver lets go, the cage shows it, memory is locked, the device ─▶ row: the run has it
 *     the guest let go ─▶ QEMU closes it ─▶ its driver has it again ─▶ row: the run has it not
 *
 * Which device a named resource is, is decided once and written down before anything is done to the device: no other VM gets it, and the next
 * daemon hands over the same one.
 */
import { type HostDeviceSpec, KvasirError } from '@kvasir/contract'
import { portCount, portNumber } from '../../model/pci/layout.ts'
import { planHostDevice } from '../../model/qemu/host-devices.ts'
import { deviceId } from '../../model/qemu/ids.ts'
import { hostDeviceOf } from '../../model/vm/host-device-rules.ts'
import { isSameValue } from '../../model/vm/spec-fields.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { VmRecord } from '../../ports/store.ts'
import { chooseHostDevices, keptBy, requireUnlent } from '../host/host-devices.ts'
import {
  withChosenDevice,
  withoutChosenDevice,
  withoutGoneDevice,
  withPluggedDevice,
} from './moved-host-devices.ts'
import type { MovingKind, MovingTask } from './moving-kind.ts'
import { withoutMoving } from './names-to-move.ts'

/** What handing over may take: a driver that lets go, a reset, and all memory of the guest locked. */
const bringMs = 600_000

export const hostDeviceKind: MovingKind = {
  job: 'vm.set-host-devices',
  noun: 'host device',
  takeOut: (vm, name) => `host-device remove ${vm} ${name}`,
  field: 'movingHostDevices',
  event: 'host-device',
  bringMs,
  points: {
    beforeAsk: 'vm.host-devices.before-ask',
    afterAsk: 'vm.host-devices.after-ask',
    afterRelease: 'vm.host-devices.after-release',
    afterRemove: 'vm.host-devices.after-remove',
  },
  names: ({ hostDevices }) => hostDevices.map(({ name }) => name),
  idOf: (name) => deviceId('host', name),
  part: (emulator) => emulator.hostDevices,
  bring,
  async remove(seat, emulator, name) {
    const address = seat.record.run?.bootedHardware?.hostDevices?.[name]
    if (address !== undefined) await emulator.hostDevices.remove({ name, address })
  },
  without: withoutGoneDevice,
}

async function bring(seat: Seat, name: string, task: MovingTask): Promise<string> {
  const { run, spec, name: vm } = seat.record
  const device = hostDeviceOf(spec, name)
  if (!run || !device) return ''
  const there = hostDeviceOf(run.bootedSpec, name)
  if (there && (await task.emulator.hostDevices.present([name])).length > 0) {
    if (!isSameValue(there, device))
      throw new KvasirError('wrong-state', `VM ${vm} still has another host device ${name}.`)
    seat.update({ run: withoutMoving(run, 'movingHostDevices', name) })
    return `Host device ${name} stays.`
  }
  requirePort(seat.record, name)
  return await handOver(seat, device, task)
}

async function handOver(seat: Seat, device: HostDeviceSpec, task: MovingTask): Promise<string> {
  const { emulator, ports, onStep } = task
  const { name } = device
  onStep(`choosing host device ${name}`)
  const address = await chooseFor(seat, device, task)
  await ports.failpoint('vm.host-devices.after-row')
  const { record } = seat
  const hardware = { ...record.hardware, hostDevices: { [name]: address } }
  const plan = planHostDevice(
    { name: record.name, spec: { ...record.spec, hostDevices: [device] }, hardware },
    name,
  )
  onStep(`handing over ${address} as host device ${name}, and locking the memory of the guest`)
  try {
    await ports.failpoint('vm.host-devices.before-plug')
    await emulator.hostDevices.plug(plan)
    await ports.failpoint('vm.host-devices.after-plug')
  } catch (error) {
    await forget(seat, name, task)
    throw error
  }
  const { run } = seat.record
  if (run) seat.update({ run: withPluggedDevice(run, { device, hardware, emulator: emulator.record }) })
  return `Host device ${name} is ${address}, and plugged.`
}

/** The device that was chosen before, or one that is chosen and written down now. */
async function chooseFor(
  seat: Seat,
  device: HostDeviceSpec,
  { ports, drivers }: MovingTask,
): Promise<string> {
  const { record } = seat
  const known = record.run?.bootedHardware?.hostDevices ?? {}
  const before = known[device.name]
  if (before !== undefined) return before
  const chosen = await chooseHostDevices(record, { hostDevices: [device] }, { ports, kept: keptBy(record) })
  const address = chosen?.[device.name]
  if (address === undefined) throw new TypeError(`Nothing was chosen for the host device ${device.name}.`)
  requireUnlent(record, { ...record.hardware, hostDevices: { [device.name]: address } }, drivers)
  if (record.run) seat.update({ run: withChosenDevice(record.run, device.name, address) })
  return address
}

/** What did not come is the host's again, unless it did come and only its telling failed. */
async function forget(seat: Seat, name: string, { emulator }: MovingTask): Promise<void> {
  const isThere = (await emulator.hostDevices.present([name])).length > 0
  if (!isThere && seat.record.run) seat.update({ run: withoutChosenDevice(seat.record.run, name) })
}

/** A device that was given a place which the emulator was started without gets it at the next boot. */
function requirePort({ name, hardware, run }: VmRecord, device: string): void {
  const address = hardware.pci[deviceId('host', device)]
  const booted = run?.bootedHardware
  if (address && booted && portNumber(address) < portCount(booted)) return
  throw new KvasirError(
    'unsupported',
    `VM ${name} has no slot left to plug host device ${device} into, so it is not handed over.`,
    { details: { device } },
  )
}
