/** The disks of a VM, a line each: on what bus, in what format, on which volumes, how its requests go, and what came of them. */
import type { DiskSpec, Vm } from '@kvasir/contract'
import { formatBytes } from '@kvasir/contract/size'
import { chainUnder, type Shelf } from '../volume/chain.ts'
import { volumeName } from '../volume/volume-address.ts'

type DiskStatus = NonNullable<Vm['status']['disks']>[number]

/** The lines of `vm show`. */
export function describeDisks({ spec, status }: Vm, shelf: Shelf): string[] {
  return spec.disks.map((disk) => {
    const volume = shelf.volumes.find(({ name, pool }) => name === disk.volume && pool === disk.pool)
    const kept =
      volume === undefined
        ? []
        : [volume.format, formatBytes(volume.capacityBytes), ...allocated(volume.allocatedBytes)]
    const words = [
      disk.device === 'cdrom' ? `${disk.bus} CD-ROM` : disk.bus,
      ...(disk.controller === undefined ? [] : [`on ${disk.controller}`]),
      ...kept,
      ...(disk.readOnly ? ['read-only'] : []),
      ...(disk.shareable ? ['shareable'] : []),
    ].join(', ')
    const chain = volume === undefined ? [] : chainUnder(volume, shelf)
    const use = status.disks?.find((candidate) => candidate.disk === disk.name)
    return `${disk.name}  ${words}: ${[mediumOf(disk), ...chain].join(' > ')}${use ? done(use) : ''}`
  })
}

function mediumOf(disk: DiskSpec): string {
  if (disk.volume !== undefined) return volumeName({ pool: disk.pool, name: disk.volume })
  return disk.file ?? (disk.device === 'cdrom' ? 'empty' : '-')
}

function done({ readBytes, writtenBytes, latency, aio, cache }: DiskStatus): string {
  const within = (what: string, counts: readonly number[]) => {
    const bound = boundOf(counts, latency?.bounds ?? [])
    return bound === undefined ? [] : [`99 % of ${what} ${boundWords(bound)}`]
  }
  return [
    `; read ${formatBytes(readBytes)}, wrote ${formatBytes(writtenBytes)}`,
    ...(latency ? [...within('reads', latency.reads), ...within('writes', latency.writes)] : []),
    ...(aio ? [`${aio.mode}: ${aio.reason}`] : []),
    ...(cache ? [`cache ${cache.mode}: ${cache.reason}`] : []),
  ].join('; ')
}

/** The bound within which 99 of 100 requests were, in microseconds; undefined without requests, infinite beyond the last bound. */
function boundOf(counts: readonly number[], bounds: readonly number[]): number | undefined {
  const all = counts.reduce((sum, count) => sum + count, 0)
  if (all === 0) return undefined
  let sum = 0
  for (const [index, count] of counts.entries()) {
    sum += count
    if (sum >= all * 0.99) return bounds[index] ?? Number.POSITIVE_INFINITY
  }
  return Number.POSITIVE_INFINITY
}

function boundWords(microseconds: number): string {
  if (!Number.isFinite(microseconds)) return 'in more than 5 s'
  return microseconds < 1_000 ? `within ${microseconds} µs` : `within ${microseconds / 1_000} ms`
}

function allocated(bytes: number | undefined): string[] {
  return bytes === undefined ? [] : [`${formatBytes(bytes)} used`]
}
