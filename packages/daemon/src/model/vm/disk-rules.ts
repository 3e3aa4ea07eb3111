/**
 * What adding and removing a disk does while the guest runs, and what another medium in a CD-ROM drive does.
 *
 * A disk comes behind an empty root port, of which an emulator has those that it was started with, or onto a controller that is there.
 * Not here: where it is put (model/pci), how it is plugged (host/qemu).
 */
import { type DiskSpec, isCdrom, type VmSpec } from '@kvasir/contract'
import { slotOf } from '../pci/layout.ts'
import type { ChangeRule, SpecChange } from './change-rules.ts'
import { isSameValue } from './spec-fields.ts'

/** The disk that guests of images boot from. */
const rootDisk = 'root'
/** The fields that say what a drive holds. */
const mediumFields = ['volume', 'file', 'pool'] as const

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
  return additionRule(wanted, booted, change)
}

function additionRule(wanted: DiskSpec, booted: VmSpec, change: SpecChange): ChangeRule {
  if (wanted.bus === 'sata') return boot('disks on SATA are attached when the emulator starts')
  if (change.freePorts === undefined)
    return boot('it was started by a version that did not note its hardware')
  const slot = slotOf(wanted)
  const slotsThere = [...booted.disks, ...change.from.disks].map(slotOf)
  if (slotsThere.includes(slot)) return live('it is plugged into its controller while the guest runs')
  const comes = [...change.to.disks].sort(byName).flatMap((disk) => slotOf(disk) ?? [])
  const slotsToCome = [...new Set(comes)].filter((one) => !slotsThere.includes(one))
  if (slotsToCome.indexOf(slot ?? '') >= change.freePorts)
    return boot(
      `it has ${change.freePorts} slots left to plug a disk into; the next boot makes more (machine.spareSlots)`,
    )
  return live('it is plugged while the guest runs')
}

function removalRule(name: string, there: DiskSpec | undefined): ChangeRule {
  if (there === undefined) return live('the guest does not have it yet')
  if (name === rootDisk) return boot('the guest runs from it')
  if (there.bus === 'sata') return boot('disks on SATA stay until the emulator ends')
  return live('the guest is asked to let go of it while it runs')
}

/** The rule for a field of what is in a disk or drive: a drive takes another medium while the guest runs, a disk keeps what it has. */
export function mediumOr(kept: ChangeRule): (change: SpecChange, path: string) => ChangeRule {
  return ({ from, to, booted }, path) => {
    const name = path.slice('disks.'.length, path.lastIndexOf('.'))
    const isDrive = [from, to].every((spec) => isDriveOf(spec, name))
    if (!isDrive) return kept
    if (booted === undefined) return boot('the drive holds it when the emulator starts')
    return isDriveOf(booted, name)
      ? live('the medium in the drive is changed while the guest runs')
      : boot('the guest has no such drive until then')
  }
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

/** The drives whose medium is another one by now. */
export function changedDrives(booted: VmSpec, spec: VmSpec): readonly string[] {
  return namesOf(spec).filter((name) => {
    const [before, after] = [diskOf(booted, name), diskOf(spec, name)]
    return before && after && isCdrom(before) && isCdrom(after) && !hasSameMedium(before, after)
  })
}

/** Whether two drives hold the same. */
export function hasSameMedium(a: DiskSpec, b: DiskSpec): boolean {
  return isSameValue(mediumOf(a), mediumOf(b))
}

/** A drive with the medium of another, or with none. */
export function withMedium(drive: DiskSpec, holder: DiskSpec | undefined): DiskSpec {
  const { volume: _volume, file: _file, ...empty } = drive
  return { ...empty, ...(holder === undefined ? {} : { pool: holder.pool, ...mediumOf(holder) }) }
}

/** The paths of the fields that say what a drive holds. */
export function mediumPaths(drive: string): readonly string[] {
  return mediumFields.map((field) => `disks.${drive}.${field}`)
}

/** What is in it; the pool of an empty drive says nothing. */
function mediumOf({ volume, file, pool }: DiskSpec): Pick<Partial<DiskSpec>, 'volume' | 'file' | 'pool'> {
  if (volume !== undefined) return { volume, pool }
  return file === undefined ? {} : { file }
}

function isDriveOf(spec: VmSpec, name: string): boolean {
  const disk = diskOf(spec, name)
  return disk !== undefined && isCdrom(disk)
}

function namesOf({ disks }: VmSpec): readonly string[] {
  return disks.map((disk) => disk.name).sort((a, b) => (a < b ? -1 : 1))
}

function byName(a: DiskSpec, b: DiskSpec): number {
  return a.name < b.name ? -1 : 1
}

function diskOf({ disks }: VmSpec, name: string): DiskSpec | undefined {
  return disks.find((disk) => disk.name === name)
}
