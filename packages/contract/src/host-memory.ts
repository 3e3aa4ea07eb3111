/**
 * The memory of the host beside what its VMs have and could claim.
 *
 * `claim` is the honest sum: what the running VMs may still take at once without being asked, if every guest used all that it has,
 * every balloon were emptied by a guest in want, and nothing stayed merged.
 */
import { z } from 'zod'
import { hostMemoryFeatures } from './host-parts.ts'
import { bytes } from './units.ts'

const claim = z
  .strictObject({
    claimableBytes: bytes.meta({ description: 'What the VMs could take beyond what they hold.' }),
    unsharedBytes: bytes.meta({ description: 'Of it: what KSM saves now.' }),
    availableBytes: bytes.meta({ description: 'Memory that the host could give.' }),
    swapFreeBytes: bytes,
    shortBytes: bytes.meta({ description: 'What would be missing, swap included; then the kernel kills.' }),
    verdict: z.enum(['fits', 'swaps', 'short']),
  })
  .meta({ id: 'MemoryClaim' })

const sums = z
  .strictObject({
    running: z.int(),
    configuredBytes: bytes.meta({ description: 'What their guests have, plugged memory included.' }),
    balloonBytes: bytes.meta({ description: 'What their balloons leave of it.' }),
    maximumBytes: bytes.meta({ description: 'What they could be given: memory.max.' }),
    residentBytes: bytes,
    swappedBytes: bytes,
    unanswered: z.int().meta({ description: 'VMs that did not answer; they count with all they have.' }),
  })
  .meta({ id: 'MemorySums', description: 'The running VMs together.' })

const tuningOutcome = z
  .strictObject({
    setting: z.string(),
    path: z.string(),
    wanted: z.string(),
    state: z.enum(['applied', 'refused', 'absent']),
    value: z.string().optional(),
    reason: z.string().optional(),
  })
  .meta({ id: 'TuningOutcome', description: 'A setting of the configuration for the kernel of the host.' })

const capturedMemory = {
  totalBytes: bytes,
  availableBytes: bytes,
  nodes: z.array(
    z.strictObject({ node: z.int(), totalBytes: bytes.optional(), freeBytes: bytes.optional() }),
  ),
  features: hostMemoryFeatures,
}

/** The memory of the host. */
export const hostMemory = z
  .strictObject({
    ...capturedMemory,
    vms: sums,
    overcommit: z.number().meta({ description: 'What guests have to what the host has.' }),
    claim,
    tuning: z.array(tuningOutcome),
  })
  .meta({ id: 'HostMemory' })

export type HostMemory = z.output<typeof hostMemory>
