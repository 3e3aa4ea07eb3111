/**
 * What adding and removing a disk does while the guest runs.
 *
 * A disk comes behind an empty root port, of which an emulator has those that it was started with. Not here: where it is put
 * (model/pci), how it is plugged (host/qemu).
 */
import type { DiskSpec, VmSpec } from '@kvasir/contract'
import type { ChangeRule, SpecChange } from './change-rules.ts'
import { isSameValue } from './spec-fields.ts'

/** The disk that guests of images boot from. */
const rootDisk = 'root'

/** The rule for a disk that one of the specs has and the other has not; `path` is `disks.NAME`. */
export function wholeDiskRule(change: SpecChange, path: string): ChangeRule {
  const name = path.slice('disks.'.length)
  const { to, booted } = change
  if (booted === undefined) return boot('disks are plugged only into a guest that runs')
  if (to.machine.type === 'microvm') return boot('nothing can be plugged into a microvm')
  const wanted = diskOf(to, name)
  const there = diskOf(booted, name)
  if (wanted === undefined) return removalRule(name, there)
  if (there !== undefined)
    return isSameValue(there, wanted)
      ? live('the guest still has it')
      : boot('the guest has another disk of this name until then')
  if (change.freePorts === undefined)
    return boot('it was started by a version that did not note its hardware')
  const comes = namesOf(to).filter((one) => !diskOf(booted, one) && !diskOf(change.from, one))
  if (comes.indexOf(name) >= change.freePorts)
    return boot(`it has ${change.freePorts} slots left to plug a disk into; the next boot makes more`)
  return live('it is plugged while the guest runs')
}

function removalRule(name: string, there: DiskSpec | undefined): ChangeRule {
  if (there === undefined) return live('the guest does not have it yet')
  if (name === rootDisk) return boot('the guest runs from it')
  return live('the guest is asked to let go of it while it runs')
}

const boot = (reason: string): ChangeRule => ({ effect: 'boot', reason })
const live = (reason: string): ChangeRule => ({ effect: 'live', reason })

/** Disks in which a run differs from what the spec says by now: those that came are the spec's, those that went are the run's. */
export function movedDisks(booted: VmSpec, spec: VmSpec): readonly string[] {
  const all = new Set([...namesOf(booted), ...namesOf(spec)])
  return [...all].filter(
    (name) => (diskOf(booted, name) === undefined) !== (diskOf(spec, name) === undefined),
  )
}

function namesOf({ disks }: VmSpec): readonly string[] {
  return disks.map((disk) => disk.name).sort((a, b) => (a < b ? -1 : 1))
}

function diskOf({ disks }: VmSpec, name: string): DiskSpec | undefined {
  return disks.find((disk) => disk.name === name)
}
