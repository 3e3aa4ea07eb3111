/** `kvasir vm disk` and `kvasir vm nic`. */
import type { DiskSpec, DiskThrottle, NicSpec, Vm } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import { formatBytes } from '@kvasir/contract/size'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'
import { UsageError } from '../usage-error.ts'
import { changeSpec } from './change-spec.ts'
import { type DiskInput, parseDisk, parseThrottle } from './device-words.ts'
import { changedNic, parseNic, parseNicChange } from './nic-words.ts'
import { isNicLost } from './show.ts'

const sharedWarning =
  'Guests that share a disk must know of each other: a cluster file system, or one that writes. Any other file system is damaged.'

export const listDisks: Action = async (context) => {
  const { client, output, signal } = context
  const vm = await readVm(context)
  const volumes = output.format === 'table' ? await client.call(routes.listVolumes, { signal }) : []
  const volumeOf = (disk: DiskSpec) =>
    volumes.find((volume) => volume.name === disk.volume && volume.pool === disk.pool)
  const sizeOf = (disk: DiskSpec): string | undefined => {
    const bytes = volumeOf(disk)?.capacityBytes
    return bytes === undefined ? undefined : formatBytes(bytes)
  }
  await output.rows<DiskSpec>(
    vm.spec.disks,
    [
      { title: 'DISK', show: (disk) => disk.name },
      { title: 'BUS', show: (disk) => (disk.device === 'cdrom' ? `${disk.bus} CD-ROM` : disk.bus) },
      { title: 'FORMAT', show: (disk) => volumeOf(disk)?.format ?? disk.format },
      { title: 'SIZE', show: sizeOf, right: true },
      { title: 'CACHE', show: (disk) => cacheOf(disk, vm) },
      { title: 'LIMITS', show: (disk) => disk.throttle && describeThrottle(disk.throttle) },
      { title: 'POOL', show: (disk) => disk.pool },
      {
        title: 'VOLUME',
        show: (disk) => disk.volume ?? disk.file ?? (disk.device === 'cdrom' ? 'empty' : undefined),
      },
    ],
    `VM ${vm.name} has no disks.`,
  )
  return undefined
}

export const listNics: Action = async (context) => {
  const vm = await readVm(context)
  await context.output.rows<NicSpec>(
    vm.spec.nics,
    [
      { title: 'NIC', show: (nic) => nic.name },
      { title: 'NETWORK', show: (nic) => nic.network ?? nic.mode },
      { title: 'MODEL', show: (nic) => nic.model ?? 'virtio' },
      { title: 'MAC', show: (nic) => nic.mac },
      { title: 'ADDRESS', show: (nic) => saidAddresses(nic) ?? addressesOf(vm, nic) },
      { title: 'LINK', show: (nic) => (isNicLost(vm.status, nic.name) ? 'lost' : nic.link) },
      {
        title: 'GUARDS',
        show: ({ antiSpoof, isolated }) =>
          [...(antiSpoof ? ['antiSpoof'] : []), ...(isolated ? ['isolated'] : [])].join(' ') || '-',
      },
      { title: 'LIMITS', show: ({ limits }) => (limits ? describeLimits(limits) : '-') },
      {
        title: 'FORWARDS',
        show: ({ forwards }) =>
          forwards
            .map((it) => `${it.protocol} ${it.hostAddress}:${it.hostPort} -> ${it.guestPort}`)
            .join(', ') || '-',
      },
    ],
    `VM ${vm.name} has no NICs.`,
  )
  return undefined
}

/** Those that it always has. */
function saidAddresses({ address, ipv6 }: NicSpec): string | undefined {
  const said = [address, ipv6].filter((one) => one !== undefined)
  return said.length === 0 ? undefined : said.join(' ')
}

/** Those that its network knows of. */
function addressesOf({ status }: Vm, { name }: NicSpec): string {
  const { addresses = [] } = status.nics?.find(({ nic }) => nic === name) ?? {}
  return addresses.join(' ') || '-'
}

export const addDisk: Action = async (context) => {
  await changeSpec(context, (spec) => {
    const disk = parseDisk(context.argument('KEY=VALUE,...'), freeName('disk', spec.disks))
    if (disk.shareable) context.output.message(sharedWarning)
    return { ...spec, disks: [...spec.disks, disk] }
  })
  return undefined
}

export const addNic: Action = async (context) => {
  await changeSpec(context, (spec) => {
    const nic = parseNic(context.argument('KEY=VALUE,...'), freeName('net', spec.nics))
    return { ...spec, nics: [...spec.nics, nic] }
  })
  return undefined
}

export const setNic: Action = async (context) => {
  const name = context.argument('NIC')
  const change = parseNicChange(context.argument('KEY=VALUE,...'))
  await changeSpec(context, (spec) => {
    without(spec.nics, name, 'NIC') // It is there.
    return { ...spec, nics: spec.nics.map((nic) => (nic.name === name ? changedNic(nic, change) : nic)) }
  })
  return undefined
}

export const throttleDisk: Action = async (context) => {
  const name = context.argument('DISK')
  const throttle = parseThrottle(context.argument('KEY=VALUE,...'))
  await changeSpec(context, (spec) => {
    without(spec.disks, name, 'disk') // It is there.
    return {
      ...spec,
      disks: spec.disks.map((disk): DiskInput => (disk.name === name ? { ...disk, throttle } : disk)),
    }
  })
  return undefined
}

export const removeDisk: Action = async (context) => {
  await changeSpec(context, (spec) => ({
    ...spec,
    disks: without(spec.disks, context.argument('DISK'), 'disk'),
  }))
  return undefined
}

export const removeNic: Action = async (context) => {
  await changeSpec(context, (spec) => ({ ...spec, nics: without(spec.nics, context.argument('NIC'), 'NIC') }))
  return undefined
}

/** Limits in the words in which they are given. */
function describeThrottle({ burst = {}, group, burstSeconds, ...limits }: DiskThrottle): string {
  const words = (set: Readonly<Record<string, number | undefined>>, prefix: string) =>
    Object.entries(set).flatMap(([name, value]) => {
      if (value === undefined) return []
      return `${prefix}${name}=${name.startsWith('bytes') ? formatBytes(value) : value}`
    })
  const more = [
    ...(burstSeconds === undefined ? [] : [`burstSeconds=${burstSeconds}`]),
    ...(group === undefined ? [] : [`group=${group}`]),
  ]
  return [...words(limits, ''), ...words(burst, 'burst.'), ...more].join(',')
}

/** The same of a NIC. */
function describeLimits({ send, receive }: NonNullable<NicSpec['limits']>): string {
  const words = Object.entries({ send, receive })
  return words.flatMap(([way, rate]) => (rate === undefined ? [] : `${way}=${formatBytes(rate)}`)).join(',')
}

/** What the spec says, else what was chosen at the start. */
function cacheOf({ name, cache }: DiskSpec, { status }: Vm): string {
  return cache ?? status.disks?.find(({ disk }) => disk === name)?.cache?.mode ?? 'auto'
}

/** The VM that is named. */
export function readVm(context: Context) {
  return context.client.call(routes.getVm, {
    params: { name: context.argument('NAME') },
    signal: context.signal,
  })
}

/** The first name of a series that no device has. */
export function freeName(prefix: string, devices: readonly { readonly name: string }[]): string {
  const taken = new Set(devices.map((device) => device.name))
  for (let number = 0; ; number++) {
    if (!taken.has(`${prefix}${number}`)) return `${prefix}${number}`
  }
}

/** The devices without one of them, which is there. */
export function without<Device extends { readonly name: string }>(
  devices: readonly Device[],
  name: string,
  what: string,
): Device[] {
  const kept = devices.filter((device) => device.name !== name)
  if (kept.length < devices.length) return kept
  throw new UsageError(
    `There is no ${what} ${JSON.stringify(name)}.`,
    `There are: ${devices.map((it) => it.name).join(', ') || 'none'}.`,
  )
}
