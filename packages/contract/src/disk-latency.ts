/**
 * How long the requests of a disk took, counted by QEMU since the emulator was first looked at: how many were within each bound.
 *
 * The bounds are the same for all disks, so that counts of several can be added.
 */
import { z } from 'zod'

/** The upper bounds in microseconds; one more count is for what took longer than the last. */
export const latencyBounds = [
  50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
  5_000_000,
] as const

const counts = z.array(z.int()).length(latencyBounds.length + 1)

/** Requests by how long they took. */
export const diskLatency = z
  .strictObject({
    bounds: z.array(z.int()).meta({ description: 'In microseconds.' }),
    reads: counts,
    writes: counts,
    flushes: counts,
  })
  .meta({ id: 'DiskLatency', description: 'Each count is of the requests beyond the bound before its own.' })

export type DiskLatency = z.output<typeof diskLatency>
