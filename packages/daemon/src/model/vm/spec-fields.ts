/**
 * A spec as a flat list of fields, so that two specs can be compared field by field: `cpu.count`, `disks.root.cache`,
 * `nics.lan.forwards`. Devices are told apart by their names, never by their places.
 */
import type { DiskSpec, ForwardSpec, HostDeviceSpec, NicSpec, ShareSpec, VmSpec } from '@kvasir/contract'

/** One field of a spec. */
export interface SpecField {
  /** As people read it: `disks.root.cache`; a device itself is `disks.root`, with its whole value. */
  readonly path: string
  /** The path without the device's name: `disks.*.cache`. */
  readonly kind: string
  readonly value: unknown
}

/** The groups of a spec whose fields are compared one by one. */
const groups = ['machine', 'cpu', 'memory', 'boot', 'devices', 'lifecycle', 'autostart', 'clock'] as const
/** The fields that are compared as a whole. */
const wholes = ['description', 'labels', 'image', 'accelerator', 'cloudInit'] as const

/** Flattens a spec. The keys of the map are unique also where names of devices have dots. */
export function specFields(spec: VmSpec): ReadonlyMap<string, SpecField> {
  const fields: SpecField[] = []
  for (const name of wholes) fields.push({ path: name, kind: name, value: spec[name] })
  for (const group of groups) {
    for (const [key, value] of Object.entries(spec[group])) {
      fields.push({ path: `${group}.${key}`, kind: `${group}.${key}`, value: comparable(key, value) })
    }
  }
  for (const disk of spec.disks) fields.push(...deviceFields('disks', disk))
  for (const nic of spec.nics) fields.push(...deviceFields('nics', withSortedForwards(nic)))
  for (const device of spec.hostDevices) fields.push(...deviceFields('hostDevices', device))
  for (const share of spec.shares) fields.push(...deviceFields('shares', share))
  return new Map(fields.map((field) => [`${field.kind}\n${field.path}`, field]))
}

/** Channels are told apart by their names, so their order means nothing, and none are none however that is said. */
function comparable(key: string, value: unknown): unknown {
  if (key !== 'channels' || !Array.isArray(value)) return value
  return value.length === 0 ? undefined : value.toSorted((a, b) => (a < b ? -1 : 1))
}

function deviceFields(
  list: 'disks' | 'nics' | 'hostDevices' | 'shares',
  device: DiskSpec | NicSpec | HostDeviceSpec | ShareSpec,
): readonly SpecField[] {
  const path = `${list}.${device.name}`
  const parts = Object.entries(device).filter(([key]) => key !== 'name')
  return [
    { path, kind: `${list}.*`, value: device },
    ...parts.map(([key, value]) => ({ path: `${path}.${key}`, kind: `${list}.*.${key}`, value })),
  ]
}

function withSortedForwards(nic: NicSpec): NicSpec {
  const key = (forward: ForwardSpec): string =>
    [forward.protocol, forward.hostAddress, forward.hostPort, forward.guestPort].join(' ')
  return { ...nic, forwards: [...nic.forwards].sort((a, b) => (key(a) < key(b) ? -1 : 1)) }
}

/** Whether two values of a field are the same, whatever the order of their keys; absent and undefined are the same. */
export function isSameValue(a: unknown, b: unknown): boolean {
  return canonical(a) === canonical(b)
}

function canonical(value: unknown): string {
  return (
    JSON.stringify(value, (_key, part: unknown) =>
      typeof part === 'object' && part !== null && !Array.isArray(part)
        ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
        : part,
    ) ?? ''
  )
}
