/** What the tools of Ceph say in JSON, read into our words. Each throws `ZodError` for what is not that. */
import { z } from 'zod'
import { type Monitor, monitorOf } from './ceph-place.ts'

const df = z.object({
  pools: z.array(
    z.object({ name: z.string(), stats: z.object({ stored: z.number(), max_avail: z.number() }) }),
  ),
})

/** What a Ceph pool holds and what more it could (`ceph df`), copies counted once; undefined when there is none of the name. */
export function cephSpace(
  report: unknown,
  cephPool: string,
): { readonly storedBytes: number; readonly availableBytes: number } | undefined {
  const stats = df.parse(report).pools.find(({ name }) => name === cephPool)?.stats
  return stats && { storedBytes: stats.stored, availableBytes: Math.floor(stats.max_avail) }
}

const listed = z.array(
  z.object({ image: z.string(), size: z.number().optional(), snapshot: z.string().optional() }),
)

/** The images of a pool (`rbd ls -l`), without their snapshots. */
export function imagesOf(report: unknown): readonly { readonly image: string; readonly sizeBytes: number }[] {
  return listed
    .parse(report)
    .filter(({ snapshot }) => snapshot === undefined)
    .map(({ image, size }) => ({ image, sizeBytes: size ?? 0 }))
}

const info = z.object({ size: z.number(), id: z.string(), parent: z.object({}).optional() })

/** The size of an image (`rbd info`). */
export function imageSize(report: unknown): number {
  return info.parse(report).size
}

/** Whether an image reads through another one (`rbd info`). */
export function isClone(report: unknown): boolean {
  return info.parse(report).parent !== undefined
}

const children = z.array(
  z.object({ pool: z.string(), pool_namespace: z.string().optional(), image: z.string() }),
)

/** Whether an image is among the clones that read through a snapshot (`rbd children`). */
export function hasChild(
  report: unknown,
  child: {
    readonly cephPool: string
    readonly namespace: string | undefined
    readonly image: string
  },
): boolean {
  return children
    .parse(report)
    .some(
      ({ pool, pool_namespace = '', image }) =>
        pool === child.cephPool && pool_namespace === (child.namespace ?? '') && image === child.image,
    )
}

const extents = z.array(z.object({ length: z.number(), exists: z.union([z.boolean(), z.string()]) }))

/** What an image holds of its own and of what it reads through (`rbd diff --whole-object`). */
export function heldBytes(report: unknown): number {
  const held = extents.parse(report).filter(({ exists }) => String(exists) === 'true')
  return held.reduce((sum, { length }) => sum + length, 0)
}

const locks = z.array(z.object({ id: z.string(), locker: z.string(), address: z.string() }))

/** A lock that somebody took on an image by hand. */
export interface ImageLock {
  readonly id: string
  readonly locker: string
  readonly address: string
}

/**
 * The locks of an image (`rbd lock ls`) that nobody gives up when asked: not those that clients take by themselves (`auto` and a number),
 * since these go from one client to the next.
 */
export function heldLocks(report: unknown): readonly ImageLock[] {
  return locks.parse(report).filter(({ id }) => !/^auto \d+$/.test(id))
}

const snapshots = z.array(z.object({ name: z.string() }))

/** The names of an image's snapshots (`rbd snap ls`), without those that only clones still read through. */
export function snapshotNames(report: unknown): readonly string[] {
  return snapshots.parse(report).map(({ name }) => name)
}

const usage = z.object({
  images: z.array(z.object({ used_size: z.number(), snapshot: z.string().optional() })),
})

/** What an image and its snapshots occupy (`rbd du`). */
export function usedBytes(report: unknown): number {
  return usage.parse(report).images.reduce((sum, image) => sum + image.used_size, 0)
}

const trash = z.array(z.object({ id: z.string(), name: z.string() }))

/** The images in the trash (`rbd trash ls`): how they were called, and by what they are removed. */
export function trashOf(report: unknown): readonly { readonly id: string; readonly name: string }[] {
  return trash.parse(report).map(({ id, name }) => ({ id, name }))
}

const addresses = z.object({ addrvec: z.array(z.object({ addr: z.string() })) })
const osdDump = z.object({ osds: z.array(z.object({ up: z.number(), public_addrs: addresses })) })

/** Where the OSDs that are up listen for clients (`ceph osd dump`). */
export function osdAddresses(report: unknown): readonly Monitor[] {
  return osdDump
    .parse(report)
    .osds.filter(({ up }) => up === 1)
    .flatMap(({ public_addrs }) => public_addrs.addrvec.map(({ addr }) => monitorOf(addr)))
}
