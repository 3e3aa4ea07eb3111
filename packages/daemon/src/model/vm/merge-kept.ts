/**
 * What a VM was given and a new version of its spec leaves out: kept, so that a file applied again and again never makes a second
 * disk, moves a NIC to another address or asks for another machine.
 *
 * Devices are matched by name. The root disk that an image brought belongs to the image: a spec that lists no disk `root` but keeps
 * the image keeps that disk too. What was said of a disk's I/O thread goes with the disk.
 *
 * Not here: what changes (plan-changes.ts).
 */
import { type DiskSpec, isCdrom, type NicSpec, type VmSpec } from '@kvasir/contract'

/** The wanted spec with everything filled in that the daemon had decided for the current one. */
export function mergeKept(current: VmSpec, wanted: VmSpec): VmSpec {
  const image = wanted.image ?? current.image
  const version = wanted.machine.version ?? current.machine.version
  const sameMachine = wanted.machine.type === current.machine.type
  const disks = [...keptRootDisk(current, wanted), ...wanted.disks.map((disk) => keepDisk(current, disk))]
  return {
    ...wanted,
    cpu: withoutGonePins(current, { cpu: wanted.cpu, disks }),
    ...(image === undefined ? {} : { image }),
    machine: {
      ...wanted.machine,
      ...(version === undefined || !sameMachine ? {} : { version }),
    },
    disks,
    nics: wanted.nics.map((nic) => keepNic(current, nic)),
  }
}

function keepNic({ nics }: VmSpec, nic: NicSpec): NicSpec {
  const before = nics.find((candidate) => candidate.name === nic.name)
  const mac = nic.mac ?? before?.mac
  const address = nic.address ?? (before?.network === nic.network ? before?.address : undefined)
  return { ...nic, ...(mac === undefined ? {} : { mac }), ...(address === undefined ? {} : { address }) }
}

/** The pin of an I/O thread goes with its disk, unless somebody has just set it. */
function withoutGonePins(current: VmSpec, { cpu, disks }: Pick<VmSpec, 'cpu' | 'disks'>): VmSpec['cpu'] {
  if (cpu.pin === undefined) return cpu
  const isGone = (name: string, cpus: string) =>
    current.disks.some((disk) => disk.name === name) &&
    !disks.some((disk) => disk.name === name) &&
    current.cpu.pin?.ioThreads[name] === cpus
  const pins = Object.entries(cpu.pin.ioThreads)
  const kept = pins.filter(([name, cpus]) => !isGone(name, cpus))
  if (kept.length === pins.length) return cpu
  const { pin, ...rest } = cpu
  const isEmpty =
    kept.length + Object.keys(pin.vcpus).length === 0 && (pin.emulator ?? pin.vhost) === undefined
  return isEmpty ? rest : { ...rest, pin: { ...pin, ioThreads: Object.fromEntries(kept) } }
}

function keptRootDisk(current: VmSpec, wanted: VmSpec): readonly DiskSpec[] {
  if (wanted.disks.some((disk) => disk.name === 'root')) return []
  const root = current.disks.find((disk) => disk.name === 'root')
  return root?.image !== undefined && root.image === current.image ? [root] : []
}

function keepDisk(current: VmSpec, disk: DiskSpec): DiskSpec {
  const before = current.disks.find((candidate) => candidate.name === disk.name)
  // A drive that is said to hold nothing is to be empty.
  if (before?.volume === undefined || isCdrom(disk)) return disk
  if (disk.volume !== undefined && disk.volume !== before.volume) return disk
  const image = disk.image ?? before.image
  const size = disk.size ?? before.size
  const format = disk.format ?? before.format
  return {
    ...disk,
    volume: before.volume,
    ...(image === undefined ? {} : { image }),
    ...(size === undefined ? {} : { size }),
    ...(format === undefined ? {} : { format }),
  }
}
