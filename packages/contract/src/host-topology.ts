/**
 * How the host is put together: sockets, dies, clusters, L3 domains, cores, hardware threads, NUMA nodes, PCI devices.
 *
 * The parts are flat lists that refer to each other, since their nesting is not the same on all machines: an L3 domain may span
 * NUMA nodes, and a NUMA node several L3 domains. `socket`, `die`, `cluster` and `core` are numbers of ours, unique on the host and
 * counted by the lowest CPU, as lscpu counts; what the kernel calls the part stands beside (`packageId`, `coreId`, ...), is not
 * unique and may have holes. `cpu` and `node` are always the kernel's numbers, and `l3` is the kernel's id of the cache where it has
 * one; all three may have holes too.
 */
import { z } from 'zod'
import { bytes } from './units.ts'

const cpus = z.array(z.int()).meta({ description: 'Online CPUs, ascending.' })

/** One hardware thread; where it is belongs to online CPUs only, for the kernel says nothing of the others. */
const hostCpu = z
  .strictObject({
    cpu: z.int(),
    online: z.boolean(),
    socket: z.int().optional(),
    die: z.int().optional(),
    cluster: z.int().optional(),
    l3: z.int().optional(),
    core: z.int().optional(),
    node: z.int().optional(),
    kind: z.string().optional(),
    maxMhz: z.int().optional(),
    isolated: z.boolean().meta({ description: 'Left out by the scheduler: isolcpus or an isolated cpuset.' }),
    nohzFull: z.boolean().meta({ description: 'Without the timer tick while it runs one task.' }),
  })
  .meta({ id: 'HostCpu' })

const hostCore = z
  .strictObject({
    core: z.int(),
    coreId: z.int().optional(),
    socket: z.int(),
    die: z.int(),
    cluster: z.int().optional(),
    l3: z.int().optional(),
    node: z.int().optional(),
    kind: z.string().optional(),
    cpus: cpus.meta({ description: 'Its SMT siblings that are online.' }),
  })
  .meta({ id: 'HostCore' })

const hostCache = z
  .strictObject({
    level: z.int(),
    type: z.enum(['data', 'instruction', 'unified']),
    sizeBytes: bytes.optional(),
    instances: z.int(),
  })
  .meta({ id: 'HostCache', description: 'The caches of one level, type and size.' })

const hostNode = z
  .strictObject({
    node: z.int(),
    cpus,
    memoryBytes: bytes
      .optional()
      .meta({ description: '0 for a node without memory; absent where it is unknown.' }),
    freeBytes: bytes.optional(),
    distances: z.array(z.strictObject({ node: z.int(), distance: z.int() })),
    tier: z.int().optional().meta({ description: 'Memory tier of the kernel; a lower one is faster.' }),
  })
  .meta({ id: 'HostNode' })

/** A PCI function and where it sits. */
const hostPciDevice = z
  .strictObject({
    address: z.string(),
    classCode: z.string().meta({ description: 'Six hexadecimal digits: class, subclass, interface.' }),
    className: z.string(),
    vendorId: z.string(),
    deviceId: z.string(),
    driver: z.string().optional(),
    node: z.int().optional(),
    iommuGroup: z.int().optional(),
  })
  .meta({ id: 'HostPciDevice' })

export const hostTopology = z
  .strictObject({
    architecture: z.string(),
    cpus: z.array(hostCpu).meta({ description: 'Every CPU that is present, online or not.' }),
    offline: z.array(z.int()),
    isolated: z.array(z.int()),
    nohzFull: z.array(z.int()),
    smt: z
      .enum(['on', 'off', 'unknown'])
      .meta({ description: 'Whether an online core has several threads.' }),
    sockets: z.array(z.strictObject({ socket: z.int(), packageId: z.int().optional(), cpus })),
    dies: z.array(z.strictObject({ die: z.int(), dieId: z.int().optional(), socket: z.int(), cpus })),
    clusters: z
      .array(z.strictObject({ cluster: z.int(), clusterId: z.int().optional(), die: z.int(), cpus }))
      .meta({ description: 'Groups of cores inside a die, where there are any.' }),
    l3: z
      .array(z.strictObject({ l3: z.int(), sizeBytes: bytes.optional(), cpus }))
      .meta({ description: 'Domains that share an L3 cache; none where the host shows no L3.' }),
    cores: z.array(hostCore),
    kinds: z
      .array(
        z.strictObject({
          kind: z.string(),
          cpus,
          maxMhz: z.int().optional(),
          capacity: z.int().optional().meta({ description: 'Of 1024, which is the strongest CPU.' }),
        }),
      )
      .meta({ description: 'Kinds of cores, where they differ; the strongest first.' }),
    caches: z.array(hostCache),
    numa: z.boolean().meta({ description: 'False where the kernel shows no nodes; all is then one node 0.' }),
    nodes: z.array(hostNode),
    pciDevices: z.array(hostPciDevice),
  })
  .meta({ id: 'HostTopology' })

export type HostTopology = z.output<typeof hostTopology>
export type HostPciDevice = z.output<typeof hostPciDevice>
