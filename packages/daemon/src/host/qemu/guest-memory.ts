/**
 * What a guest reports of its memory: by the statistics of its balloon driver, which QEMU collects at an interval, and by its agent,
 * which reads the guest's /proc/meminfo.
 *
 * A guest is not trusted: what is no whole number of a sane size is left out. Facts: virtio 1.1, 5.5.6.3; QEMU's docs/interop/virtio-balloon-stats.rst.
 */
import { type GuestAgentClient, type QmpClient, QmpError } from '@kvasir/qmp'
import { z } from 'zod'
import { balloonId } from '../../model/qemu/balloon.ts'
import type { GuestReport } from '../../ports/emulator-memory.ts'

/** How often a guest is asked for statistics, once somebody has looked at it. */
const pollSeconds = 5
const queryTimeoutMs = 1_000
const memInfoBytes = 8192

const balloonPath = `/machine/peripheral/${balloonId}`

/** What the balloon leaves of the memory of the boot; undefined while there is none. */
export async function readBalloon(
  monitor: QmpClient,
  options?: { readonly timeoutMs: number },
): Promise<number | undefined> {
  try {
    return (await monitor.execute('query-balloon', undefined, options)).actual
  } catch (error) {
    if (error instanceof QmpError && error.class === 'DeviceNotActive') return undefined
    throw error
  }
}

/** The last report by a balloon. The first look begins to ask the guest, so it gives none; one that was plugged anew is asked anew. */
export async function readBalloonReport(monitor: QmpClient): Promise<GuestReport | undefined> {
  const options = { timeoutMs: queryTimeoutMs }
  const property = 'guest-stats-polling-interval'
  const report = reportOfBalloon(
    await monitor.execute('qom-get', { path: balloonPath, property: 'guest-stats' }, options),
  )
  if (report !== undefined) return report
  const interval = await monitor.execute('qom-get', { path: balloonPath, property }, options)
  if (interval === 0)
    await monitor.execute('qom-set', { path: balloonPath, property, value: pollSeconds }, options)
  return undefined
}

/** Statistics that a guest does not have are -1, which arrives as the largest unsigned number. */
const statistic = z
  .number()
  .transform((value) => (Number.isSafeInteger(value) && value >= 0 ? value : undefined))
const guestStats = z.object({ 'last-update': z.number(), stats: z.record(z.string(), statistic) })

/** What QEMU's `guest-stats` says; undefined before the guest has reported. */
export function reportOfBalloon(answer: unknown): GuestReport | undefined {
  const parsed = guestStats.safeParse(answer)
  if (!parsed.success || !(parsed.data['last-update'] > 0)) return undefined
  const { stats } = parsed.data
  return {
    source: 'balloon',
    at: new Date(parsed.data['last-update'] * 1000).toISOString(),
    totalBytes: stats['stat-total-memory'],
    availableBytes: stats['stat-available-memory'],
    freeBytes: stats['stat-free-memory'],
    cachesBytes: stats['stat-disk-caches'],
    swappedInBytes: stats['stat-swap-in'],
    swappedOutBytes: stats['stat-swap-out'],
    majorFaults: stats['stat-major-faults'],
  }
}

/** The guest's /proc/meminfo. Throws what the agent answers when it may not, or when the guest has no such file. */
export async function readMemInfo(agent: GuestAgentClient): Promise<string> {
  const options = { timeoutMs: queryTimeoutMs }
  const handle = await agent.execute('guest-file-open', { path: '/proc/meminfo', mode: 'r' }, options)
  try {
    const read = await agent.execute('guest-file-read', { handle, count: memInfoBytes }, options)
    return Buffer.from(read['buf-b64'], 'base64').toString('utf8')
  } finally {
    await agent.execute('guest-file-close', { handle }, options)
  }
}

/** What a /proc/meminfo says, in bytes. */
export function reportOfMemInfo(text: string): GuestReport {
  const bytes = (name: string) => {
    const value = new RegExp(`^${name}:\\s+(\\d{1,12}) kB$`, 'm').exec(text)?.[1]
    return value === undefined ? undefined : Number(value) * 1024
  }
  return {
    source: 'agent',
    totalBytes: bytes('MemTotal'),
    availableBytes: bytes('MemAvailable'),
    freeBytes: bytes('MemFree'),
    cachesBytes: bytes('Cached'),
  }
}
