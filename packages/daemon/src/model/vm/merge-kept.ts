/**
 * What a VM was given and a new version of its spec leaves out: kept, so that a file applied again and again never makes a second
 * disk, moves a NIC to another address or asks for another machine.
 *
 * Devices are matched by name. The root disk that an image brought belongs to the image: a spec that lists no disk `root` but keeps
 * the image keeps that disk too.
 *
 * Not here: what changes (plan-changes.ts).
 */
import type { DiskSpec, VmSpec } from '@kvasir/contract'

/** The wanted spec with everything filled in that the daemon had decided for the current one. */
export function mergeKept(current: VmSpec, wanted: VmSpec): VmSpec {
  const image = wanted.image ?? current.image
  const version = wanted.machine.version ?? current.machine.version
  const sameMachine = wanted.machine.type === current.machine.type
  return {
    ...wanted,
    ...(image === undefined ? {} : { image }),
    machine: {
      ...wanted.machine,
      ...(version === undefined || !sameMachine ? {} : { version }),
    },
    disks: [...keptRootDisk(current, wanted), ...wanted.disks.map((disk) => keepDisk(current, disk))],
    nics: wanted.nics.map((nic) => {
      const mac = nic.mac ?? current.nics.find((candidate) => candidate.name === nic.name)?.mac
      return mac === undefined ? nic : { ...nic, mac }
    }),
  }
}

function keptRootDisk(current: VmSpec, wanted: VmSpec): readonly DiskSpec[] {
  if (wanted.disks.some((disk) => disk.name === 'root')) return []
  const root = current.disks.find((disk) => disk.name === 'root')
  return root?.image !== undefined && root.image === current.image ? [root] : []
}

function keepDisk(current: VmSpec, disk: DiskSpec): DiskSpec {
  const before = current.disks.find((candidate) => candidate.name === disk.name)
  if (before?.volume === undefined) return disk
  if (disk.volume !== undefined && disk.volume !== before.volume) return disk
  const image = disk.image ?? before.image
  const size = disk.size ?? before.size
  return {
    ...disk,
    volume: before.volume,
    ...(image === undefined ? {} : { image }),
    ...(size === undefined ? {} : { size }),
  }
}
