/**
 * What is written down about an emulator when disks come and go: their ids, I/O threads and files, by which its cage is judged.
 */
import type { DiskPlan } from '../../model/qemu/disk-plan.ts'
import { deviceId } from '../../model/qemu/ids.ts'
import type { StoredEmulator } from './runtime-directory.ts'

/** The record once a disk is there, or is about to be. */
export function withDisk(record: StoredEmulator, { disk, ids, ioThread, nodes }: DiskPlan): StoredEmulator {
  const known = record.plan.ids
  const ioThreads = [
    ...known.ioThreads.filter((id) => id !== ioThread),
    ...(ioThread === undefined ? [] : [ioThread]),
  ]
  const opened = nodes.flatMap(({ file }) => file?.path ?? [])
  return {
    ...record,
    plan: { ids: { ...known, ioThreads, disks: { ...known.disks, [disk]: ids } } },
    cage: {
      ...record.cage,
      files: [...record.cage.files, ...opened],
      filesOf: { ...record.cage.filesOf, [disk]: opened },
    },
  }
}

/** A drive has no medium any more; those files are gone that it was started with or was given since. */
export function withoutFiles(
  record: StoredEmulator,
  { disk, gone }: { readonly disk: string; readonly gone: readonly string[] },
): StoredEmulator {
  const { [disk]: given = gone, ...filesOf } = record.cage.filesOf
  const files = [...record.cage.files]
  for (const path of given) if (files.includes(path)) files.splice(files.lastIndexOf(path), 1)
  return { ...record, cage: { ...record.cage, files, filesOf: { ...filesOf, [disk]: [] } } }
}

/** Its files are told apart from those of others by what was written down when it was plugged; those of the start stay listed. */
export function withoutDisk(record: StoredEmulator, disk: string): StoredEmulator {
  const known = record.plan.ids
  const { [disk]: _gone, ...disks } = known.disks
  const { [disk]: closed = [], ...filesOf } = record.cage.filesOf
  const files = [...record.cage.files]
  for (const path of closed) files.splice(files.lastIndexOf(path), 1)
  const ioThreads = isSharedThread(known.disks, disk)
    ? known.ioThreads
    : known.ioThreads.filter((id) => id !== ioThreadOf(known.disks, disk))
  return {
    ...record,
    plan: { ids: { ...known, ioThreads, disks } },
    cage: { ...record.cage, files, filesOf },
  }
}

type KnownDisks = StoredEmulator['plan']['ids']['disks']

/** The id of a disk's I/O thread, also where an older version wrote down which disks there are. */
export function ioThreadOf(disks: KnownDisks, disk: string): string {
  return disks[disk]?.ioThread ?? deviceId('io', disk)
}

/** Whether another disk, or the controller that this one was on, still has the thread of this one. */
export function isSharedThread(disks: KnownDisks, disk: string): boolean {
  const id = ioThreadOf(disks, disk)
  if (disks[disk]?.controller !== undefined) return true
  return Object.keys(disks).some((other) => other !== disk && ioThreadOf(disks, other) === id)
}
