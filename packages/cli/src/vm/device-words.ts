/**
 * Devices as words: `size=20GiB,bus=virtio-scsi` for a disk. Those of NICs are in nic-words.ts.
 *
 * Keys are those of the spec; a key that there is not is refused here, a value that makes no sense by the daemon.
 */
import type { VmSpecInput } from '@kvasir/contract'
import { suggest } from '../suggest.ts'
import { UsageError } from '../usage-error.ts'
import { parseVolume } from '../volume/volume-address.ts'

/** A disk as a request writes it. */
export type DiskInput = NonNullable<VmSpecInput['disks']>[number]
/** A device of the host as a request writes it. */
export type HostDeviceInput = NonNullable<VmSpecInput['hostDevices']>[number]
/** A share as a request writes it. */
export type ShareInput = NonNullable<VmSpecInput['shares']>[number]

const diskKeys = [
  'name',
  'device',
  'size',
  'format',
  'image',
  'volume',
  'file',
  'pool',
  'bus',
  'controller',
  'cache',
  'aio',
  'discard',
  'detectZeroes',
  'onError',
  'serial',
  'readOnly',
  'shareable',
  'ioThread',
  'queues',
  'bootOrder',
] as const

/** Parses a disk; `fallbackName` is used when it names itself not. */
export function parseDisk(text: string, fallbackName: string): DiskInput {
  const disk: Record<string, unknown> = { name: fallbackName }
  for (const [key, value] of parsePairs(text, diskKeys, 'disk')) {
    if (key === 'readOnly' || key === 'shareable') disk[key] = toBoolean(key, value)
    else if (key === 'ioThread') disk[key] = toThread(value)
    else if (key === 'bootOrder' || key === 'queues') disk[key] = toInteger(key, value)
    else disk[key] = requireValue(key, value)
  }
  if (typeof disk['volume'] === 'string') Object.assign(disk, volumeOf(disk['volume'], disk['pool']))
  // virtio-blk, which a disk has unless told otherwise, has no drives.
  if (disk['device'] === 'cdrom') disk['bus'] ??= 'sata'
  return disk as DiskInput // The daemon's schema judges the values; the keys are those of the spec.
}

/** A volume by its name, or with its pool, as it is named elsewhere. */
function volumeOf(text: string, pool: unknown): { readonly volume: string; readonly pool?: string } {
  if (!text.includes('/')) return { volume: text }
  const address = parseVolume(text)
  if (pool !== undefined && pool !== address.pool)
    throw new UsageError(`${text} is not in pool ${JSON.stringify(pool)}.`, 'Name the pool once.')
  return address
}

const rates = ['iops', 'iopsRead', 'iopsWrite', 'bytes', 'bytesRead', 'bytesWrite']
const throttleKeys = [...rates, ...rates.map((rate) => `burst.${rate}`), 'burstSeconds', 'group']

/** Parses the limits of a disk; `none` takes them away. */
export function parseThrottle(text: string): DiskInput['throttle'] {
  if (text === 'none') return undefined
  const limits: Record<string, unknown> = {}
  const burst: Record<string, unknown> = {}
  for (const [key, value] of parsePairs(text, throttleKeys, 'throttle')) {
    const isBurst = key.startsWith('burst.')
    const name = isBurst ? key.slice('burst.'.length) : key
    const set = isBurst ? burst : limits
    const isText = name.startsWith('bytes') || name === 'group'
    set[name] = isText ? requireValue(key, value) : toInteger(key, value)
  }
  if (Object.keys(burst).length > 0) limits['burst'] = burst
  return limits as DiskInput['throttle'] // As for disks.
}

const switches = [
  'rng',
  'balloon',
  'agent',
  'vnc',
  'spice',
  'vsock',
  'panic',
  'watchdog',
  'usb',
  'sound',
  'tpm',
]
const deviceKeys = [
  ...switches,
  'rngBytesPerSecond',
  'watchdogModel',
  'pointer',
  'keyboard',
  'display',
  'renderNode',
  'usbRedirects',
  'channels',
] as const

/** Parses the other devices: `watchdog,usb,vnc=false,pointer=usb`. */
export function parseDevices(text: string): NonNullable<VmSpecInput['devices']> {
  const fields = parsePairs(text, deviceKeys, 'VM').map(([key, value]) => [key, deviceValue(key, value)])
  return Object.fromEntries(fields) // As for disks.
}

function deviceValue(key: string, value: string | undefined): unknown {
  if (key === 'usbRedirects') return toInteger(key, value)
  if (key === 'channels') return requireValue(key, value).split('+')
  return switches.includes(key) ? toBoolean(key, value) : requireValue(key, value)
}

const hostDeviceKeys = ['name', 'address', 'vf', 'model', 'force', 'rom', 'romFile', 'with'] as const

/** Parses a device of the host; a word without a key is its address. */
export function parseHostDevice(text: string, fallbackName: string): HostDeviceInput {
  const isAddress = /^[0-9a-f:]+\.[0-7](,|$)/i.test(text)
  const pairs = parsePairs(isAddress ? `address=${text}` : text, hostDeviceKeys, 'host device')
  const fields = pairs.map(([key, value]) => [
    key,
    key === 'force' || key === 'rom' ? toBoolean(key, value) : requireValue(key, value),
  ])
  return { name: fallbackName, ...Object.fromEntries(fields) } // The daemon's schema judges the values.
}

const shareKeys = ['name', 'folder', 'readOnly'] as const

/** Parses a share; a word without a key is its folder. */
export function parseShare(text: string, fallbackName: string): ShareInput {
  const fields = parsePairs(text.startsWith('/') ? `folder=${text}` : text, shareKeys, 'share').map(
    ([key, value]) => [key, key === 'readOnly' ? toBoolean(key, value) : requireValue(key, value)],
  )
  return { name: fallbackName, ...Object.fromEntries(fields) } // The daemon's schema judges the values.
}

/** Parses `KEY=VALUE`, as labels are written. */
export function parseAssignment(text: string, what: string): [key: string, value: string] {
  const equals = text.indexOf('=')
  if (equals < 1) throw new UsageError(`${JSON.stringify(text)} is not a ${what}.`, 'Write KEY=VALUE.')
  return [text.slice(0, equals), text.slice(equals + 1)]
}

export function parsePairs(
  text: string,
  keys: readonly string[],
  what: string,
): [key: string, value: string | undefined][] {
  const seen = new Set<string>()
  return text
    .split(',')
    .filter((part) => part !== '')
    .map((part) => {
      const equals = part.indexOf('=')
      const key = equals < 0 ? part : part.slice(0, equals)
      if (!keys.includes(key)) {
        const meant = suggest(key, keys)
        const advice = meant === undefined ? `Keys: ${keys.join(', ')}.` : `Did you mean ${meant}?`
        throw new UsageError(`A ${what} has no ${JSON.stringify(key)}.`, advice)
      }
      if (seen.has(key) && key !== 'forward')
        throw new UsageError(`${key} is given twice for one ${what}.`, 'Keep one.')
      seen.add(key)
      return [key, equals < 0 ? undefined : part.slice(equals + 1)]
    })
}

export function requireValue(key: string, value: string | undefined): string {
  if (!value) throw new UsageError(`${key} needs a value.`, `Write ${key}=...`)
  return value
}

/** An I/O thread of its own, none, or the name of one that it shares. */
function toThread(value: string | undefined): boolean | string {
  if (value === undefined || value === 'true') return true
  return value === 'false' ? false : value
}

export function toBoolean(key: string, value: string | undefined): boolean {
  if (value === undefined || value === 'true') return true
  if (value === 'false') return false
  throw new UsageError(
    `${key} cannot be ${JSON.stringify(value)}.`,
    `Write ${key}, ${key}=true or ${key}=false.`,
  )
}

export function toInteger(key: string, value: string | undefined): number {
  if (value !== undefined && /^\d{1,9}$/.test(value)) return Number(value)
  throw new UsageError(`${key} is not a whole number.`, `Write ${key}=1, for example.`)
}
