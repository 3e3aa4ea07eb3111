/**
 * Whether a block device may become a part of a volume group, from what lsblk(8) and wipefs(8) say of it. What is in use is never taken,
 * whoever asks; what holds something is taken only by force, and what it holds is named.
 */
import { z } from 'zod'

interface BlockDevice {
  readonly path: string
  readonly type: string
  readonly ro: boolean
  readonly mountpoints: readonly (string | null)[]
  readonly children?: readonly BlockDevice[] | undefined
}

const blockDevice: z.ZodType<BlockDevice> = z.lazy(() =>
  z.object({
    path: z.string(),
    type: z.string(),
    ro: z.boolean(),
    mountpoints: z.array(z.string().nullable()),
    children: z.array(blockDevice).optional(),
  }),
)

/** What lsblk is asked for. */
export const lsblkFields = 'PATH,TYPE,RO,MOUNTPOINTS'

const listing = z.object({ blockdevices: z.array(blockDevice) })
const signatures = z.object({
  signatures: z.array(z.object({ type: z.string(), label: z.string().nullish() })).optional(),
})

/** Why a device is refused. */
export type DeviceVerdict =
  | { readonly kind: 'free' }
  /** By no force. */
  | { readonly kind: 'used'; readonly why: string }
  | { readonly kind: 'holds'; readonly what: string }

/** Judges a device by what `lsblk --json` says of it and, on it, `wipefs --json`; the latter may say nothing at all. */
export function judgeDevice(lsblk: unknown, wipefs: unknown): DeviceVerdict {
  const [device] = listing.parse(lsblk).blockdevices
  if (device === undefined) return { kind: 'used', why: 'is no block device' }
  const use = useOf(device)
  if (use !== undefined) return { kind: 'used', why: use }
  const found = wipefs === undefined ? [] : (signatures.parse(wipefs).signatures ?? [])
  const what = found.map(({ type, label }) => (label ? `${type} "${label}"` : type))
  if (what.length > 0) return { kind: 'holds', what: [...new Set(what)].join(', ') }
  const parts = device.children ?? []
  if (parts.length > 0) return { kind: 'holds', what: `${parts.length} partitions` }
  return { kind: 'free' }
}

function useOf(device: BlockDevice): string | undefined {
  if (device.ro) return 'can only be read'
  for (const part of withParts(device)) {
    const mounted = part.mountpoints.find((point) => point !== null && point !== '')
    const name = part === device ? '' : ` (${part.path})`
    if (mounted === '[SWAP]') return `is swapped to${name}`
    if (mounted) return `is mounted at ${mounted}${name}`
    if (part !== device && part.type !== 'part') return `is used by ${part.path} (${part.type})`
  }
  return undefined
}

function withParts(device: BlockDevice): readonly BlockDevice[] {
  return [device, ...(device.children ?? []).flatMap(withParts)]
}
