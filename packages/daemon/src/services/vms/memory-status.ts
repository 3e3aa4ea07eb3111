/**
 * The memory of a running VM as its status shows it: from the spec, from what the emulator was started with, and from what was last seen
 * of guest, emulator and host. What was not seen yet is left out; nothing is asked here.
 */
import { formatBytes, type VmMemory } from '@kvasir/contract'
import { backingOf, thpNotes } from '../../model/memory/backing.ts'
import type { VmView } from '../../ports/drivers.ts'
import type { GuestReport, HeldMemory } from '../../ports/emulator-memory.ts'
import type { VmRecord } from '../../ports/store.ts'
import { bootBytesOf, ordersOf } from './situation.ts'

/** The memory of a VM that runs. */
export function memoryStatus({ record, statistics, guest, held }: VmView): VmMemory {
  const { spec } = record
  const made = (record.run?.bootedSpec ?? spec).memory
  const plugged = statistics?.plugged
  const orders = ordersOf(record)
  const balloonBytes = statistics?.balloonBytes
  const reports = [statistics?.guestMemory, guest?.memory].filter((report) => report !== undefined)
  return {
    configuredBytes: spec.memory.size,
    bootBytes: bootBytesOf(record),
    backing: backingOf({ ...made, ksm: spec.memory.ksm }),
    ...(plugged ? { plugged } : {}),
    ...(balloonBytes === undefined
      ? {}
      : {
          balloon: {
            targetBytes: orders.balloon + (orders.plugged ?? 0),
            actualBytes: balloonBytes + (plugged?.pluggedBytes ?? 0),
          },
        }),
    guest: reports.map(reportStatus),
    ...(held ? { host: heldStatus(held) } : {}),
    limits: limitStatus(record, held),
    notes: [...(held?.notes ?? []), ...thpNotes(made, held?.thpMode)],
  }
}

const setElsewhere = 'it is not in the spec: somebody has set it in the cgroup, where it stays'

function reportStatus(report: GuestReport): VmMemory['guest'][number] {
  const { source, at, totalBytes, availableBytes, freeBytes, cachesBytes } = report
  const { swappedInBytes, swappedOutBytes, majorFaults } = report
  return {
    source,
    ...(at === undefined ? {} : { at }),
    ...(totalBytes === undefined ? {} : { totalBytes }),
    ...(availableBytes === undefined ? {} : { availableBytes }),
    ...(freeBytes === undefined ? {} : { freeBytes }),
    ...(cachesBytes === undefined ? {} : { cachesBytes }),
    ...(swappedInBytes === undefined ? {} : { swappedInBytes }),
    ...(swappedOutBytes === undefined ? {} : { swappedOutBytes }),
    ...(majorFaults === undefined ? {} : { majorFaults }),
  }
}

function heldStatus(held: HeldMemory): NonNullable<VmMemory['host']> {
  const { at, residentBytes, swappedBytes, zswappedBytes, ksmBytes, huge, nodes, lockedBytes } = held
  return {
    at,
    residentBytes,
    swappedBytes,
    ...(zswappedBytes === undefined ? {} : { zswappedBytes }),
    ...(ksmBytes === undefined ? {} : { ksmBytes }),
    huge: huge.map((pages) => ({ ...pages })),
    ...(lockedBytes ? { lockedBytes } : {}),
    ...(nodes === undefined ? {} : { nodes: nodes.map((node) => ({ ...node })) }),
  }
}

/** What the spec wants limited, and whether the cgroup's files say that it is; and what somebody else has limited. */
function limitStatus({ spec }: VmRecord, held: HeldMemory | undefined): VmMemory['limits'] {
  const { high, hard, swap } = spec.memory
  return Object.entries({ high, hard, swap }).flatMap(([name, bytes]) => {
    const limit = name as 'high' | 'hard' | 'swap' // The keys of the line above.
    if (held === undefined) return []
    const { limits } = held
    const found = limits?.[limit]
    if (bytes === undefined)
      return found === undefined ? [] : [{ limit, bytes: found, enforced: true, reason: setElsewhere }]
    const enforced = found === bytes
    const reason =
      limits === undefined
        ? 'the cgroup v2 of this host has no memory controller'
        : `its cgroup says ${found === undefined ? 'max' : formatBytes(found)}: the kernel did not take it, or somebody else has set it since`
    return [{ limit, bytes, enforced, ...(enforced ? {} : { reason }) }]
  })
}
