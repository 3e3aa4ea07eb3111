/**
 * Where a VM lies on its host: what a spec asks for, and what the planner answers, with its reasons.
 *
 * CPUs and nodes are the host's numbers; nodes and vCPUs of the guest are counted from 0. Reasons are sentences for people; whatever a
 * program needs stands beside them as numbers.
 */
import { z } from 'zod'
import { bytes } from './units.ts'

/** The fields of `cpu` that say where a VM is to lie. */
export const placementFields = {
  placement: z.enum(['none', 'pack', 'spread', 'dedicated']).default('none').meta({
    description:
      'none: wherever the scheduler likes. pack: on as few cores as hold it, beside others. spread: a core for each vCPU, where it is emptiest. dedicated: hardware threads of its own.',
  }),
  numa: z.enum(['auto', 'strict', 'off']).default('auto').meta({
    description:
      'For a VM that is placed. auto: as few nodes as an empty host would need, and memory from them where it fits. strict: memory from them or not at all. off: on any number of nodes, memory from anywhere, and nothing of it shown to the guest.',
  }),
} as const

const cpus = z.array(z.int())

const guestNode = z
  .strictObject({
    node: z.int().meta({ description: 'Of the guest.' }),
    hostNode: z.int().meta({ description: 'Where its vCPUs run.' }),
    memoryNode: z
      .int()
      .meta({ description: 'Where its memory comes from; another one only where that has none.' }),
    vcpus: cpus,
    memoryBytes: bytes,
  })
  .meta({ id: 'GuestNode' })

/** What the guest is shown of the host beneath it. */
export const guestShape = z
  .strictObject({
    sockets: z.int(),
    cores: z.int().meta({ description: 'Of a socket.' }),
    threads: z
      .int()
      .meta({ description: 'Of a core; more than 1 only where they are SMT siblings on the host.' }),
    nodes: z.array(guestNode).meta({ description: 'None where the guest sees no NUMA.' }),
    distances: z.array(z.array(z.int())).meta({ description: 'Between its nodes, from each to each.' }),
  })
  .meta({ id: 'GuestShape' })

const threads = z
  .strictObject({
    vcpus: z.array(z.strictObject({ vcpu: z.int(), cpus })),
    emulator: cpus.optional(),
    ioThreads: z.array(z.strictObject({ disk: z.string(), cpus })),
    memoryNodes: cpus.optional().meta({ description: 'Absent: memory comes from anywhere.' }),
  })
  .meta({ id: 'PlacedThreads', description: 'The host CPUs that each thread may run on.' })

const costTerm = z
  .strictObject({ what: z.string(), cost: z.number() })
  .meta({ id: 'PlacementCost', description: 'What speaks against a place, and how much.' })

const l3Use = z
  .strictObject({
    l3: z.string(),
    node: z.int(),
    free: z.int().meta({ description: 'Hardware threads that were free.' }),
    total: z.int(),
    taken: z.int().meta({ description: 'Hardware threads that are taken; 0 where it was passed over.' }),
    why: z.string(),
  })
  .meta({ id: 'PlacementL3' })

const candidate = z
  .strictObject({
    nodes: z.array(z.int()),
    verdict: z.enum(['chosen', 'costlier', 'does-not-fit']),
    reason: z.string(),
    cost: z.number().optional(),
    terms: z.array(costTerm),
    l3: z.array(l3Use),
  })
  .meta({ id: 'PlacementCandidate', description: 'A set of nodes that was looked at.' })

/** Where a VM lies or would lie, and why there. */
export const placementPlan = z
  .strictObject({
    placement: placementFields.placement,
    numa: placementFields.numa,
    summary: z.string(),
    threads,
    guest: guestShape
      .optional()
      .meta({ description: 'Absent where the guest is shown nothing of the host.' }),
    steps: z.array(z.string()).meta({ description: 'What was decided and why, in order.' }),
    candidates: z.array(candidate).meta({ description: 'What was looked at, the chosen one first.' }),
    warnings: z.array(z.string()),
  })
  .meta({ id: 'PlacementPlan' })

/** A VM's placement, in force or as a start would make it. */
export const vmPlacement = z
  .strictObject({
    name: z.string(),
    state: z.enum(['in-force', 'next-start', 'refused', 'none']).meta({
      description:
        'in-force: the VM runs so. next-start: a start would do so now. refused: a start would not find room. none: it is not placed.',
    }),
    reason: z.string().meta({ description: 'Why it is in this state.' }),
    plan: placementPlan.optional().meta({ description: 'Absent where it is refused or not placed.' }),
    rejected: z
      .array(candidate)
      .meta({ description: 'Where it is refused: what was looked at, and what it lacks.' }),
    moves: z
      .array(z.strictObject({ vm: z.string(), from: cpus, to: cpus }).meta({ id: 'PlacementMove' }))
      .optional()
      .meta({
        description: 'VMs whose vCPUs a start would move within their node first, to make room for this one.',
      }),
  })
  .meta({ id: 'VmPlacement' })

export type PlacementPlan = z.output<typeof placementPlan>
export type PlacementCandidate = z.output<typeof candidate>
export type GuestShape = z.output<typeof guestShape>
export type VmPlacement = z.output<typeof vmPlacement>
