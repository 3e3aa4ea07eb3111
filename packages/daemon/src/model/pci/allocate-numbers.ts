/**
 * Numbers of what sits on a bus of its own kind: ports of the SATA controller, LUNs of a controller that several share, channels.
 *
 * As with PCI addresses, each keeps its number for as long as it exists, and a number is given again only after it is gone.
 */
import { type DiskSpec, KvasirError, type VmSpec } from '@kvasir/contract'
import type { Hardware } from '../qemu/hardware.ts'

/** The ports of an ICH9 AHCI controller. */
const sataPorts = 6
/** The LUNs that one controller may have. */
const mostLuns = 255
/** Ports of the virtio-serial controller that channels can have (model/qemu/channels.ts). */
const channelPorts = 28

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

/**
 * The numbers of channels, in the order of the spec; `booted` is what the emulator has that runs. Where too many others are there, a number is
 * given that one of them has until it goes.
 */
export function allocateChannels(
  { devices }: VmSpec,
  kept: Hardware | undefined,
  booted: Hardware | undefined,
): { readonly channels?: Numbers } {
  const { channels: names = [] } = devices
  if (names.length === 0) return {}
  const known = { ...booted?.channels, ...kept?.channels }
  const given: Record<string, number> = {}
  const isFree = (number: number) => !Object.values(given).includes(number)
  for (const name of names) {
    const number = Object.hasOwn(known, name) ? known[name] : undefined
    if (number !== undefined && isFree(number)) given[name] = number
  }
  const held = new Set(Object.values(booted?.channels ?? {}))
  const all = Array.from({ length: channelPorts }, (_, number) => number)
  for (const name of names)
    given[name] ??= all.find((one) => isFree(one) && !held.has(one)) ?? all.findIndex(isFree)
  return { channels: given }
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
