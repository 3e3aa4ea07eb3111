/**
 * Numbers of disks that sit on a bus of their own kind: ports of the SATA controller, LUNs of a controller that several share.
 *
 * As with PCI addresses, a disk keeps its number for as long as it exists, and a number is given again only after its disk is gone.
 */
import { type DiskSpec, KvasirError, type VmSpec } from '@kvasir/contract'
import type { Hardware } from '../qemu/hardware.ts'

/** The ports of an ICH9 AHCI controller. */
const sataPorts = 6
/** The LUNs that one controller may have. */
const mostLuns = 255

type Numbers = Readonly<Record<string, number>>

/** The ports of the disks on SATA. `unsupported` for more than there are, or for a machine without the controller. */
export function allocateSata(spec: VmSpec, kept: Hardware | undefined): { readonly sata?: Numbers } {
  const disks = spec.disks.filter(({ bus }) => bus === 'sata')
  if (disks.length === 0) return {}
  if (spec.machine.type === 'microvm')
    throw new KvasirError(
      'unsupported',
      'A microvm has no SATA, so its disks are on virtio-blk or virtio-scsi.',
    )
  if (disks.length > sataPorts)
    throw new KvasirError(
      'unsupported',
      `A VM has ${sataPorts} ports of SATA, so ${disks.length} disks do not fit on them.`,
      { details: { ports: sataPorts, wanted: disks.length } },
    )
  return { sata: give(disks, kept?.sata ?? {}, {}) }
}

/**
 * The LUNs of the disks that share a controller; `booted` is what the emulator has that runs. `unsupported` for more than one
 * controller may have.
 */
export function allocateLuns(
  spec: VmSpec,
  kept: Hardware | undefined,
  booted: Hardware | undefined,
): { readonly luns?: Numbers } {
  const shared = Map.groupBy(
    spec.disks.filter(({ controller }) => controller !== undefined),
    ({ controller }) => controller,
  )
  if (shared.size === 0) return {}
  const luns: Record<string, number> = {}
  for (const [controller, disks] of shared) {
    if (disks.length > mostLuns)
      throw new KvasirError(
        'unsupported',
        `A controller has room for ${mostLuns} LUNs, so the ${disks.length} disks of ${controller} do not fit on it.`,
        { details: { room: mostLuns, wanted: disks.length } },
      )
    Object.assign(luns, give(disks, { ...booted?.luns, ...kept?.luns }, booted?.luns ?? {}))
  }
  return { luns }
}

/** One that is there keeps its number, and what an emulator still has is given to nobody else. */
function give(disks: readonly DiskSpec[], kept: Numbers, booted: Numbers): Numbers {
  const names = disks.map(({ name }) => name).sort((a, b) => (a < b ? -1 : 1))
  const given: Record<string, number> = {}
  const taken = new Set<number>()
  for (const name of names) {
    const number = kept[name]
    if (number === undefined || taken.has(number)) continue
    given[name] = number
    taken.add(number)
  }
  for (const one of Object.values(booted)) taken.add(one)
  let next = 0
  for (const name of names) {
    if (given[name] !== undefined) continue
    while (taken.has(next)) next += 1
    given[name] = next
    taken.add(next)
  }
  return given
}
