/**
 * A disk of a VM, as the user writes it: which volume, on which bus, and how its requests are carried out.
 *
 * Told apart from the VM's other disks by its name. A field that is left out says what it always said, so what is added here has a
 * default under which the disks that exist stay as they are.
 *
 * Not here: volumes and pools themselves (volume.ts, pool.ts), what a change of a field does to a running VM (the daemon's model/vm).
 */
import { z } from 'zod'
import { diskThrottle } from './disk-throttle.ts'
import { hostPath, resourceName } from './names.ts'
import { byteSize } from './units.ts'
import { volumeFormats } from './volume.ts'

/** What carries a disk's requests from QEMU to the host. */
export const aioModes = ['threads', 'native', 'io_uring'] as const
export type AioMode = (typeof aioModes)[number]

/** Whether requests go past the host's page cache (none), through it, or through it with the guest's flushes left out. */
export const cacheModes = ['none', 'writeback', 'unsafe'] as const
export type CacheMode = (typeof cacheModes)[number]

/** More queues than this are refused. */
const mostQueues = 64

/** A name that fits into an id inside QEMU as it is. */
const partName = resourceName.max(19)

const fields = z.strictObject({
  name: resourceName,
  device: z.enum(['disk', 'cdrom']).optional().meta({ description: 'disk unless said otherwise.' }),
  bus: z.enum(['virtio-blk', 'virtio-scsi', 'sata']).default('virtio-blk'),
  volume: resourceName.optional(),
  file: hostPath.optional().meta({
    description: 'What a CD-ROM drive holds, as a file of the host; without it and a volume, nothing.',
  }),
  image: z.string().max(128).optional(),
  size: byteSize.optional(),
  format: z.enum(volumeFormats).optional().meta({
    description:
      'In which format its volume is made: the pool’s first, unless said. In raw it begins as a copy of its image, in qcow2 as an overlay.',
  }),
  pool: resourceName.default('default'),
  readOnly: z.boolean().default(false),
  shareable: z.boolean().optional().meta({
    description: 'Several VMs may have the volume at once; their guests must keep out of each other’s way.',
  }),
  cache: z
    .enum(cacheModes)
    .optional()
    .meta({ description: 'Chosen by what the volume lies on, unless said.' }),
  aio: z.enum(aioModes).optional().meta({ description: 'Chosen by what the volume lies on, unless said.' }),
  discard: z.enum(['unmap', 'ignore']).default('unmap'),
  detectZeroes: z
    .enum(['off', 'on', 'unmap'])
    .optional()
    .meta({ description: 'Whether zeroes that the guest writes are stored as a hole, or given back.' }),
  queues: z
    .int()
    .min(1)
    .max(mostQueues)
    .optional()
    .meta({ description: 'As many as there are vCPUs, up to 16, unless said.' }),
  ioThread: z.union([z.boolean(), partName]).optional().meta({
    description:
      'An I/O thread of its own, which it has under KVM unless said; a name: one that all disks share that name it.',
  }),
  controller: partName
    .optional()
    .meta({ description: 'virtio-scsi: disks that name it are LUNs of one controller.' }),
  onError: z
    .enum(['pause', 'report', 'ignore'])
    .optional()
    .meta({ description: 'A request that fails pauses the VM unless the guest is to be told, or nobody.' }),
  serial: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,20}$/, 'is not a serial of 1 to 20 letters, digits, dashes and underscores')
    .optional(),
  bootOrder: z.int().min(1).max(255).optional(),
  throttle: diskThrottle.optional().meta({ description: 'Limits, which change while the guest runs.' }),
})

type Fields = z.output<typeof fields>

/** What fields may not say together, each with the words of the refusal. */
const contradictions: readonly (readonly [contradicts: (disk: Fields) => unknown, words: string])[] = [
  [
    ({ aio, cache = 'none' }) => aio === 'native' && cache !== 'none',
    'has aio native, which needs cache none',
  ],
  [
    ({ detectZeroes, discard }) => detectZeroes === 'unmap' && discard !== 'unmap',
    'has detectZeroes unmap, which needs discard unmap',
  ],
  [({ shareable, cache = 'none' }) => shareable && cache !== 'none', 'is shareable, which needs cache none'],
  [
    ({ shareable, image }) => shareable && image !== undefined,
    'is shareable, so it is not made from an image',
  ],
  [
    ({ shareable, format = 'raw' }) => shareable && format !== 'raw',
    'is shareable, which needs format raw: a qcow2 has tables that only one writer may change',
  ],
  [
    ({ controller, bus }) => controller && bus !== 'virtio-scsi',
    'names a controller, which only virtio-scsi has',
  ],
  [
    ({ bus, ioThread, queues }) => bus === 'sata' && (typeof ioThread === 'string' || queues),
    'is on sata, which has neither I/O threads nor queues',
  ],
  [
    (disk) => isCdrom(disk) && disk.bus === 'virtio-blk',
    'is a CD-ROM drive, which is on sata or virtio-scsi',
  ],
  [
    (disk) => isCdrom(disk) && (disk.size ?? disk.image ?? disk.format ?? disk.shareable) !== undefined,
    'is a CD-ROM drive, which has a volume, a file or nothing in it',
  ],
  [
    (disk) => isCdrom(disk) && disk.volume !== undefined && disk.file !== undefined,
    'is a CD-ROM drive, which holds a volume or a file, not both',
  ],
  [(disk) => !isCdrom(disk) && disk.file !== undefined, 'has a file, which only a CD-ROM drive does'],
]

/** A disk of a VM. Without `volume` one is made at creation: an overlay on `image` or a copy of it, or an empty one of `size`. */
export const diskSpec = fields
  .superRefine((disk, issues) => {
    for (const [contradicts, message] of contradictions)
      if (contradicts(disk)) issues.addIssue({ code: 'custom', message })
  })
  .meta({ id: 'DiskSpec' })

export type DiskSpec = z.output<typeof diskSpec>

/** Whether it is a drive whose medium comes and goes. */
export function isCdrom({ device }: Pick<DiskSpec, 'device'>): boolean {
  return device === 'cdrom'
}

/** Whether the guest cannot write to it. */
export function isReadOnly(disk: Pick<DiskSpec, 'device' | 'readOnly'>): boolean {
  return disk.readOnly || isCdrom(disk)
}

/**
 * The name of the I/O thread that serves a disk: its own, named after it or its controller, or one that it shares. Where the spec does
 * not say, the thread is there by what runs the guest (the daemon's model/qemu/own-thread.ts).
 */
export function ioThreadOf(disk: DiskSpec): string | undefined {
  if (disk.bus === 'sata' || (isCdrom(disk) && disk.controller === undefined)) return undefined
  if (typeof disk.ioThread === 'string') return disk.ioThread
  return (disk.ioThread ?? true) ? (disk.controller ?? disk.name) : undefined
}

/** The names of the I/O threads of disks, each once. */
export function ioThreadsOf(disks: readonly DiskSpec[]): readonly string[] {
  return [...new Set(disks.flatMap((disk) => ioThreadOf(disk) ?? []))]
}

/** Whether all disks of one controller say the same of it: its I/O thread and its queues. */
export function sharesControllers(disks: readonly DiskSpec[]): boolean {
  const known = new Map<string, string>()
  return disks.every((disk) => {
    if (disk.controller === undefined) return true
    const said = JSON.stringify([ioThreadOf(disk), disk.queues])
    const before = known.get(disk.controller)
    known.set(disk.controller, said)
    return before === undefined || before === said
  })
}
