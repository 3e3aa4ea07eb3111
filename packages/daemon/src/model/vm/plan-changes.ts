/**
 * What applying a spec to a VM would do, field by field: at once, at the next boot, or not at all.
 *
 * Both specs are as the daemon keeps them: `mergeKept` (merge-kept.ts) has run, and names of images are ids. The rules are in change-rules.ts.
 */
import type { PlanChange, VmSpec, VmState } from '@kvasir/contract'
import type { PlugMemory } from '../memory/plug-memory.ts'
import type { Hardware } from '../qemu/hardware.ts'
import { ruleFor, type SpecChange } from './change-rules.ts'
import { isSameValue, type SpecField, specFields } from './spec-fields.ts'

/** What a VM is while its spec is changed. */
export interface Situation {
  readonly state: VmState
  /** The memory that its emulator was started with, where more can be plugged. */
  readonly plugMemory?: PlugMemory | undefined
  /** The memory that its emulator has from the boot on, where a size of the spec may wait for the next one. */
  readonly bootBytes?: number | undefined
  /** What its emulator was started with, and has by now. */
  readonly booted?: VmSpec | undefined
  readonly accelerator?: 'kvm' | 'tcg' | undefined
  /** The networks of mode macvtap. */
  readonly macvtaps?: ReadonlySet<string> | undefined
  /** The networks of mode sriov. */
  readonly sriovs?: ReadonlySet<string> | undefined
  /** Slots of its guest that are left to plug something into. */
  readonly freePorts?: number | undefined
  /** Where the devices of its guest are. */
  readonly bootedPci?: Hardware['pci'] | undefined
  /** Why this host has no 3D, as a clause, where the spec asks for that. */
  readonly lacks3d?: string | undefined
  /** Whether this host has no vsock; it has, when not said. */
  readonly lacksVsock?: boolean | undefined
}

/** The changes from one spec to another, ordered by field; empty when they mean the same. */
export function planChanges(current: VmSpec, wanted: VmSpec, situation: Situation): readonly PlanChange[] {
  const { state, plugMemory, bootBytes, accelerator, freePorts, bootedPci, lacks3d } = situation
  const { macvtaps = new Set(), sriovs = new Set(), lacksVsock = false } = situation
  const booted = state === 'running' || state === 'paused' ? situation.booted : undefined
  const specs = { from: current, to: wanted, plugMemory, bootBytes }
  const host = { macvtaps, sriovs, lacks3d, lacksVsock }
  const change: SpecChange = { ...specs, ...host, booted, accelerator, freePorts, bootedPci }
  const before = specFields(current)
  const after = specFields(wanted)
  const changes: PlanChange[] = []
  for (const key of new Set([...before.keys(), ...after.keys()])) {
    const from = before.get(key)
    const to = after.get(key)
    const field = to ?? from
    if (field === undefined || isSameValue(from?.value, to?.value)) continue
    if (isPartOfWholeDevice(field, before, after)) continue
    changes.push({
      field: field.path,
      from: from?.value ?? null,
      to: to?.value ?? null,
      ...effectOf(field, change, state),
    })
  }
  return changes.sort((a, b) => (a.field < b.field ? -1 : 1))
}

/** A device that is added or removed is one change; one that both have is compared by its parts. */
function isPartOfWholeDevice(
  field: SpecField,
  before: ReadonlyMap<string, SpecField>,
  after: ReadonlyMap<string, SpecField>,
): boolean {
  const [list, star, part] = field.kind.split('.')
  if (star !== '*' || list === undefined) return false
  const device = part === undefined ? field.path : field.path.slice(0, -(part.length + 1))
  const key = `${list}.*\n${device}`
  const inBoth = before.has(key) && after.has(key)
  return part === undefined ? inBoth : !inBoth
}

function effectOf(
  field: SpecField,
  change: SpecChange,
  state: VmState,
): Pick<PlanChange, 'effect' | 'reason'> {
  const { effect, reason } = ruleFor(field, change)
  if (effect === 'pinned') return { effect: 'refused', reason }
  if (effect === 'bookkeeping') return { effect: 'live', reason }
  if (effect === 'live' && state === 'saved')
    return { effect: 'next-boot', reason: 'the VM has it when its saved memory is loaded' }
  if (state === 'saved' && effect !== 'start') {
    return {
      effect: 'refused',
      reason:
        'the saved memory fits only the hardware it was saved with; start the VM or discard its memory first',
    }
  }
  if (state === 'shutoff' || state === 'crashed' || state === 'saved') {
    return { effect: 'next-boot', reason: 'the VM is off and has it from its next start' }
  }
  return { effect: effect === 'live' ? 'live' : 'next-boot', reason }
}
