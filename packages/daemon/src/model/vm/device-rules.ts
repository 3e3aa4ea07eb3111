/**
 * What changes of the small devices do: one comes behind an empty root port of a guest that runs, or to its USB controller, and goes from there; QEMU
 * changes no setting of one that is there (model/qemu/small-devices.ts). The controller comes with the first that sits on it, and goes with the last.
 */
import type { VmSpec } from '@kvasir/contract'
import { comingLate, fixedDevices, hasUsb, pluggableDevices, usbRedirects } from '../pci/layout.ts'
import {
  deviceWish,
  fieldsOfDevice,
  isPluggedIn,
  type SmallDevice,
  type SmallDeviceWish,
  smallDevices,
  smallDevicesOf,
} from '../qemu/small-devices.ts'
import type { ChangeRule, SpecChange } from './change-rules.ts'
import { isSameValue } from './spec-fields.ts'

const boot = (reason: string): ChangeRule => ({ effect: 'boot', reason })
const live = (reason: string): ChangeRule => ({ effect: 'live', reason })
const same: ChangeRule = { effect: 'bookkeeping', reason: 'the guest sees the same, said in another way' }

/** The rule for a field that is about one of them; `path` is `devices.FIELD`. */
export function smallDeviceRule(change: SpecChange, path: string): ChangeRule {
  const name = smallDevices.find((one) => devicePaths(one).includes(path))
  if (name === undefined) throw new TypeError(`${path} is about no small device.`)
  const { from, to, booted } = change
  if (isSameValue(deviceWish(from, name), deviceWish(to, name))) return same
  if (booted === undefined) return boot('devices are plugged only into a guest that runs')
  if (to.machine.type === 'microvm') return boot('nothing can be plugged into a microvm')
  const [wanted, there] = [deviceWish(to, name), deviceWish(booted, name)]
  if (wanted?.on === 'chipset' || there?.on === 'chipset')
    return boot('the watchdog of the chipset is switched on when the emulator starts')
  if (name === 'vsock' && change.lacksVsock) return lackingVsock(wanted !== undefined)
  if (wanted === undefined)
    return there === undefined ? live('the guest does not have it yet') : removalRule(name, there, change)
  if (there === undefined) return additionRule(name, wanted, change)
  return isSameValue(there, wanted)
    ? live('the guest still has it')
    : boot('the guest has it as it came, and QEMU changes no setting of it')
}

/** The fields of a plan by which one comes or goes. */
export function devicePaths(name: SmallDevice): readonly string[] {
  return fieldsOfDevice(name).map((field) => `devices.${field}`)
}

/** Devices that a run has and the spec has not, the last of the table first; then those that come, which may need the ports of the first. */
export function movedSmallDevices(
  booted: Pick<VmSpec, 'devices'>,
  spec: Pick<VmSpec, 'devices'>,
): readonly SmallDevice[] {
  const [before, after] = [smallDevicesOf(booted), smallDevicesOf(spec)]
  return [
    ...before.filter((name) => !after.includes(name)).toReversed(),
    ...after.filter((name) => !before.includes(name)),
  ]
}

/** Whether the USB controller of a run goes while the guest runs, for a spec that has none. What viewers have on it by SPICE stays until the next boot. */
export function letsControllerGo(booted: Pick<VmSpec, 'devices'>, spec: Pick<VmSpec, 'devices'>): boolean {
  return !hasUsb(spec.devices) && usbRedirects(booted.devices) === 0
}

function lackingVsock(isWanted: boolean): ChangeRule {
  return isWanted
    ? boot('this host has no /dev/vhost-vsock, and the first boot that finds one brings it')
    : live('this host has no /dev/vhost-vsock, so the guest has none to let go of')
}

function removalRule(
  name: SmallDevice,
  { on }: SmallDeviceWish,
  { to, booted = to, bootedPci }: SpecChange,
): ChangeRule {
  const takesController = bootedPci !== undefined && letsControllerGo(booted, to)
  if (on === 'usb')
    return live(
      takesController
        ? 'it is pulled out of its USB port while the guest runs, which then is asked to let go of the controller'
        : 'it is pulled out of its USB port while the guest runs',
    )
  if (bootedPci === undefined) return unnoted
  if (name === 'usb' && !takesController)
    return boot('what viewers plug in by SPICE is on it since the guest booted')
  if (!isPluggedIn(bootedPci, name))
    return boot('it is on the root bus since the guest booted, and nothing is unplugged there')
  const asked = 'the guest is asked to let go of it while it runs'
  return live(name === 'watchdog' ? `${asked}, and is watched by nothing once it has` : asked)
}

/** All that is plugged shares the slots that are left. */
function additionRule(name: SmallDevice, { on }: SmallDeviceWish, change: SpecChange): ChangeRule {
  const { from, to, booted, freePorts, bootedPci } = change
  if (freePorts === undefined || bootedPci === undefined || booted === undefined) return unnoted
  if (on === 'usb') {
    if (Object.hasOwn(bootedPci, 'usb')) return live('it is plugged into a USB port while the guest runs')
    const controller = additionRule('usb', { on: 'pci', settings: '' }, change)
    return controller.effect === 'live'
      ? live('it is plugged into a USB controller that is plugged first')
      : boot(`it needs a USB controller first, and ${controller.reason}`)
  }
  if (deviceWish(from, name) !== undefined) return boot('it has not come yet, and comes as it is said then')
  const known = new Set([...placedDevices(booted), ...placedDevices(from)])
  const comes = placedDevices(to).filter((id) => !known.has(id))
  if (comes.indexOf(name) < freePorts) return live('it is plugged while the guest runs')
  return boot(
    `it has ${freePorts} slots left to plug a device into; the next boot makes more (machine.spareSlots)`,
  )
}

const unnoted = boot('it was started by a version that did not note its hardware')

/** What takes a port when it comes, in the order in which ports are given (model/pci/allocate.ts). */
function placedDevices(spec: VmSpec): readonly string[] {
  return [...pluggableDevices(spec), ...fixedDevices(spec).filter((id) => comingLate.includes(id))]
}
