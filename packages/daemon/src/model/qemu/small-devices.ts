/**
 * The small devices that come to a guest that runs and leave it, each by the name of its field in `spec.devices`: the USB controller, the entropy
 * device, the balloon, vsock, the watchdog, the pointer and the keyboard. A start says them as arguments, the monitor as commands; both are told the same by this table.
 *
 * QEMU plugs nothing into a q35's root bus, so one that came to a guest that ran sits behind a root port, and stays there for as long as the VM has it
 * (model/pci/allocate.ts). Those on USB have ports of their own on the controller. It comes before them and goes after them, so it is the first of the
 * table; a spec has it, too, when it has something that sits on it.
 */
import type { VmSpec } from '@kvasir/contract'
import { hasUsb, isBehindPort } from '../pci/layout.ts'
import { balloonDevice } from './balloon.ts'
import type { BuildContext } from './build-context.ts'
import type { QemuOptions } from './disk-plan.ts'
import type { Hardware } from './hardware.ts'
import { keyboardDevice } from './keyboard.ts'
import { jsonOption } from './options.ts'
import { type PciBus, pciBus } from './pci-bus.ts'
import { pointerDevice } from './pointer.ts'
import { entropyId, rngBytesPerSecond, rngDevice, rngObject } from './rng.ts'
import { usbDevice } from './usb.ts'
import { vsockDevice, vsockPath } from './vsock.ts'
import { watchdogDevice } from './watchdog.ts'

/** A file of the host that a device is given, opened, under one of its properties. */
export interface SmallDeviceFile {
  readonly property: string
  readonly path: string
}

/** What QEMU is told to have one: objects, then the device, with the files that it is given. */
export interface SmallDevicePlan {
  readonly name: SmallDevice
  readonly objects: readonly (QemuOptions & { readonly 'qom-type': string; readonly id: string })[]
  readonly files: readonly SmallDeviceFile[]
  readonly device: QemuOptions & { readonly driver: string; readonly id: string }
}

/** What a spec asks for: where it is, and with which settings, as text. That of `chipset` is no device of its own. */
export interface SmallDeviceWish {
  readonly on: 'pci' | 'usb' | 'chipset'
  readonly settings: string
}

interface Row {
  /** The fields of `spec.devices` that are about it. */
  readonly fields: readonly (keyof VmSpec['devices'])[]
  /** The ids of its objects. */
  readonly objects: readonly string[]
  readonly files?: readonly SmallDeviceFile[]
  /** What a spec says of it. */
  part(devices: Partial<VmSpec['devices']>): Partial<VmSpec['devices']>
  wish(devices: VmSpec['devices']): SmallDeviceWish | undefined
  plan(
    devices: VmSpec['devices'],
    at: { readonly spec: Pick<VmSpec, 'memory'>; readonly hardware: Hardware; readonly bus: PciBus },
  ): Omit<SmallDevicePlan, 'name' | 'files'>
}

const table = {
  usb: {
    fields: ['usb'],
    objects: [],
    part: (devices) => ({ usb: hasUsb(devices) ? true : undefined }),
    wish: (devices) => (hasUsb(devices) ? { on: 'pci', settings: '' } : undefined),
    plan: (_devices, { bus }) => ({ objects: [], device: usbDevice(bus) }),
  },
  rng: {
    fields: ['rng', 'rngBytesPerSecond'],
    objects: [entropyId],
    part: ({ rng = false, rngBytesPerSecond }) => ({ rng, rngBytesPerSecond }),
    wish: (devices) =>
      devices.rng ? { on: 'pci', settings: String(rngBytesPerSecond(devices)) } : undefined,
    plan: (devices, { bus }) => ({ objects: [rngObject], device: rngDevice(devices, bus) }),
  },
  balloon: {
    fields: ['balloon'],
    objects: [],
    part: ({ balloon = false }) => ({ balloon }),
    wish: ({ balloon }) => (balloon ? { on: 'pci', settings: '' } : undefined),
    plan: (_devices, { spec, bus }) => ({ objects: [], device: balloonDevice(spec, bus) }),
  },
  vsock: {
    fields: ['vsock'],
    objects: [],
    files: [{ property: 'vhostfd', path: vsockPath }],
    part: ({ vsock = false }) => ({ vsock }),
    wish: ({ vsock }) => (vsock ? { on: 'pci', settings: '' } : undefined),
    plan: (_devices, { hardware, bus }) => ({ objects: [], device: vsockDevice(hardware, bus) }),
  },
  watchdog: {
    fields: ['watchdog', 'watchdogModel'],
    objects: [],
    part: ({ watchdog = false, watchdogModel }) => ({ watchdog, watchdogModel }),
    wish: ({ watchdog, watchdogModel = 'i6300esb' }) =>
      watchdog ? { on: watchdogModel === 'itco' ? 'chipset' : 'pci', settings: watchdogModel } : undefined,
    plan: (_devices, { bus }) => ({ objects: [], device: watchdogDevice(bus) }),
  },
  pointer: {
    fields: ['pointer'],
    objects: [],
    part: ({ pointer }) => ({ pointer }),
    wish: ({ pointer }) => inputWish(pointer),
    plan: ({ pointer }, { bus }) => ({ objects: [], device: pointerDevice(pointer, bus) }),
  },
  keyboard: {
    fields: ['keyboard'],
    objects: [],
    part: ({ keyboard }) => ({ keyboard }),
    wish: ({ keyboard }) => inputWish(keyboard),
    plan: ({ keyboard }, { bus }) => ({ objects: [], device: keyboardDevice(keyboard, bus) }),
  },
} as const satisfies Record<string, Row>

/** The name of a small device, which is its id in QEMU too. */
export type SmallDevice = keyof typeof table

/** All of them. */
export const smallDevices = Object.keys(table) as readonly SmallDevice[] // The keys of a closed table.

export function isSmallDevice(name: string): name is SmallDevice {
  return Object.hasOwn(table, name)
}

/** The fields of `spec.devices` that are about one. */
export function fieldsOfDevice(name: SmallDevice): Row['fields'] {
  return table[name].fields
}

/** The ids of what is behind one, and the files that it is given. */
export function behindDevice(name: SmallDevice): Required<Pick<Row, 'objects' | 'files'>> {
  const { objects, files = [] }: Row = table[name]
  return { objects, files }
}

/** What a spec asks for under a name; undefined where it has none, as with the keyboard of PS/2, which is no device of ours. */
export function deviceWish(
  { devices }: Pick<VmSpec, 'devices'>,
  name: SmallDevice,
): SmallDeviceWish | undefined {
  return table[name].wish(devices)
}

/** The names of those that a spec has as devices of their own. */
export function smallDevicesOf(spec: Pick<VmSpec, 'devices'>): readonly SmallDevice[] {
  return smallDevices.filter((name) => (deviceWish(spec, name)?.on ?? 'chipset') !== 'chipset')
}

/** The devices of a spec with one of them as another spec has it. */
export function withDeviceOf(
  devices: VmSpec['devices'],
  name: SmallDevice,
  from: Partial<VmSpec['devices']>,
): VmSpec['devices'] {
  return { ...devices, ...table[name].part(from) }
}

/** The devices of a spec without one of them. */
export function withoutDevice(devices: VmSpec['devices'], name: SmallDevice): VmSpec['devices'] {
  return withDeviceOf(devices, name, {})
}

/** One that the spec has, as the next boot would make it. */
export function planSmallDevice(
  input: { readonly name: string; readonly spec: VmSpec; readonly hardware: Hardware },
  name: SmallDevice,
): SmallDevicePlan {
  const { spec, hardware } = input
  const { files } = behindDevice(name)
  return { name, files, ...table[name].plan(spec.devices, { spec, hardware, bus: pciBus(input) }) }
}

/** The arguments for one, where the spec and the host have it. */
export function smallDeviceArgs(
  { input, bus, descriptors }: BuildContext,
  name: SmallDevice,
): readonly string[] {
  const { spec, hardware } = input
  if (!smallDevicesOf(spec).includes(name)) return []
  if (name === 'vsock' && (!input.vsock || hardware.vsockCid === undefined)) return []
  const { objects, device } = table[name].plan(spec.devices, { spec, hardware, bus })
  const given = behindDevice(name).files.map(({ property, path }) => {
    return [property, String(descriptors.add({ kind: 'device', path }))] as const
  })
  return [
    ...objects.flatMap((object) => jsonOption('-object', object)),
    ...jsonOption('-device', { ...device, ...Object.fromEntries(given) }),
  ]
}

/** Whether one that is on PCI sits where something can be plugged. */
export function isPluggedIn(pci: Hardware['pci'], name: SmallDevice): boolean {
  const address = pci[name]
  return address !== undefined && isBehindPort(name, address)
}

function inputWish(kind: 'ps2' | 'usb' | 'virtio' | undefined): SmallDeviceWish | undefined {
  if (kind === undefined || kind === 'ps2') return undefined
  return { on: kind === 'usb' ? 'usb' : 'pci', settings: kind }
}
