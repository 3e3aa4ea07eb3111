/**
 * What changes of shares do: one comes behind an empty root port of a guest that runs, and goes when that lets go of it.
 *
 * What serves a folder maps the guest's memory, so that has to be shared from the boot on (QEMU: docs/interop/vhost-user.rst).
 */
import type { ShareSpec, VmSpec } from '@kvasir/contract'
import { pluggableDevices } from '../pci/layout.ts'
import { shareId } from '../qemu/shares.ts'
import type { ChangeRule, SpecChange } from './change-rules.ts'
import { isSameValue } from './spec-fields.ts'

const boot = (reason: string): ChangeRule => ({ effect: 'boot', reason })
const live = (reason: string): ChangeRule => ({ effect: 'live', reason })

/** The rule for a share that one of the specs has and the other has not; `path` is `shares.NAME`. */
export function wholeShareRule(change: SpecChange, path: string): ChangeRule {
  const name = path.slice('shares.'.length)
  const { to, booted } = change
  if (booted === undefined) return boot('shares are plugged only into a guest that runs')
  if (to.machine.type === 'microvm') return boot('nothing can be plugged into a microvm')
  const [wanted, there] = [shareOf(to, name), shareOf(booted, name)]
  if (wanted === undefined)
    return there === undefined
      ? live('the guest does not have it yet')
      : live('the guest is asked to let go of it while it runs')
  if (there === undefined) return additionRule(name, booted, change)
  return isSameValue(there, wanted)
    ? live('the guest still has it')
    : boot('the guest has another share of this name until then')
}

/** All that is plugged shares the slots that are left. */
function additionRule(name: string, booted: VmSpec, { from, to, freePorts }: SpecChange): ChangeRule {
  if (booted.memory.sharing !== 'shared')
    return boot('what serves a folder needs memory that is shared (memory.sharing), which a boot brings')
  if (freePorts === undefined) return boot('it was started by a version that did not note its hardware')
  const known = new Set([...pluggableDevices(booted), ...pluggableDevices(from)])
  const comes = pluggableDevices(to).filter((id) => !known.has(id))
  if (comes.indexOf(shareId(name)) < freePorts) return live('it is plugged while the guest runs')
  return boot(
    `it has ${freePorts} slots left to plug a share into; the next boot makes more (machine.spareSlots)`,
  )
}

/** Shares that a run has and the spec has not, or the other way round. */
export function movedShares(booted: Pick<VmSpec, 'shares'>, spec: Pick<VmSpec, 'shares'>): readonly string[] {
  const all = new Set([...booted.shares, ...spec.shares].map(({ name }) => name))
  return [...all]
    .sort()
    .filter((name) => (shareOf(booted, name) === undefined) !== (shareOf(spec, name) === undefined))
}

/** A share of a spec by its name. */
export function shareOf({ shares }: Pick<VmSpec, 'shares'>, name: string): ShareSpec | undefined {
  return shares.find((share) => share.name === name)
}
