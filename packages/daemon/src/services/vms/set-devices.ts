/**
 * Plugs small devices (model/qemu/small-devices.ts) into a running VM and takes them away, each by its name in `spec.devices`.
 *
 *     row: spec, `movingDevices` ─┬▶ what is behind it, the device ─▶ row: the run has it ─────────────────────────▶ not moving
 *                                 └▶ ask the guest ─▶ it let go ─▶ remove what was behind it ─▶ row: the run has it not ─┘
 *
 * What the guest is asked for on PCI goes at once on USB. What is the same for other devices is in set-moving.ts.
 */
import { KvasirError } from '@kvasir/contract'
import { portCount, portNumber } from '../../model/pci/layout.ts'
import {
  deviceWish,
  isPluggedIn,
  isSmallDevice,
  planSmallDevice,
  type SmallDevice,
  smallDevicesOf,
} from '../../model/qemu/small-devices.ts'
import { isSameValue } from '../../model/vm/spec-fields.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'
import { withoutGoneDevice, withPluggedDevice } from './moved-devices.ts'
import type { MovingKind, MovingTask } from './moving-kind.ts'
import { withoutMoving } from './names-to-move.ts'
import { ordersOf } from './situation.ts'
import { finishGone } from './take-away.ts'

/** What plugging may take, which no guest has a say in. */
const plugMs = 60_000

export const deviceKind: MovingKind = {
  job: 'vm.set-devices',
  noun: 'device',
  takeOut: (vm, name) => `set ${vm} devices.${name}=${/^(pointer|keyboard)$/.test(name) ? 'ps2' : 'false'}`,
  field: 'movingDevices',
  event: 'device',
  bringMs: plugMs,
  points: {
    beforeAsk: 'vm.devices.before-ask',
    afterAsk: 'vm.devices.after-ask',
    afterRelease: 'vm.devices.after-release',
    afterRemove: 'vm.devices.after-remove',
  },
  names: smallDevicesOf,
  idOf: (name) => name,
  part: (emulator) => emulator.devices,
  bring,
  remove: async (_seat, emulator, name) => await emulator.devices.remove(name),
  mayLack: (name, host) => name === 'vsock' && !host.hasVsock(),
  without: withoutGoneDevice,
}

async function bring(seat: Seat, name: string, { emulator, ports, onStep }: MovingTask): Promise<string> {
  const { run, spec, name: vm, hardware } = seat.record
  if (!run || !isSmallDevice(name)) return ''
  const there = deviceWish(run.bootedSpec, name)
  if (there && (await emulator.devices.present([name])).length > 0) {
    if (!isSameValue(there, deviceWish(spec, name)))
      throw new KvasirError('wrong-state', `VM ${vm} still has another ${name}.`)
    seat.update({ run: withoutMoving(run, 'movingDevices', name) })
    return `Device ${name} stays.`
  }
  requirePort(seat.record, name)
  if (deviceWish(spec, name)?.on === 'usb') await requireController(seat.record, name, emulator)
  onStep(`plugging device ${name}`)
  await ports.failpoint('vm.devices.before-plug')
  // Whether a balloon may give pages back is said of the memory that there is, and a change of that waits for a boot.
  const planned = { ...spec, memory: run.bootedSpec.memory }
  await emulator.devices.plug(planSmallDevice({ name: vm, spec: planned, hardware }, name))
  if (name === 'balloon') await emulator.memory.setBalloon(ordersOf(seat.record).balloon)
  await ports.failpoint('vm.devices.after-plug')
  const now = seat.record.run
  if (now)
    seat.update({ run: withPluggedDevice(now, { device: name, spec, hardware, emulator: emulator.record }) })
  return `Device ${name} is plugged.`
}

/**
 * QEMU does not tell when a USB controller has gone: its core holds on to it, so it is never freed (7.2: hw/usb/hcd-xhci-pci.c, the link `host`;
 * hw/core/qdev.c, device_finalize). So QEMU is asked, for one that went long after it was asked for, or that the guest ejected.
 */
export async function lookForController(seat: Seat, emulator: Emulator, ports: Ports): Promise<void> {
  if (seat.record.run?.bootedHardware?.pci['usb'] === undefined) return
  const there = await emulator.devices.present(['usb']).catch(() => ['usb']) // One that does not answer is asked again.
  if (there.length === 0) await finishGone(seat, 'usb', { kind: deviceKind, ports })
}

/** One on PCI that was given a place which the emulator was started without gets it at the next boot. */
function requirePort({ name, spec, hardware, run }: VmRecord, device: SmallDevice): void {
  if (deviceWish(spec, device)?.on !== 'pci') return
  const address = hardware.pci[device]
  const booted = run?.bootedHardware
  if (address && booted && isPluggedIn(hardware.pci, device) && portNumber(address) < portCount(booted))
    return
  throw new KvasirError(
    'unsupported',
    `VM ${name} has no slot left to plug device ${device} into, so it is not plugged.`,
    { details: { device } },
  )
}

/** The controller comes before what is on it, unless it did not come. */
async function requireController({ name }: VmRecord, device: SmallDevice, emulator: Emulator): Promise<void> {
  if ((await emulator.devices.present(['usb'])).length > 0) return
  throw new KvasirError(
    'wrong-state',
    `VM ${name} has no USB controller yet, so device ${device} is not plugged.`,
    { details: { device } },
  )
}
