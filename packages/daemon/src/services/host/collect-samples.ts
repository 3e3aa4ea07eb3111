/**
 * What a metrics scrape shows of each VM. What is known is told at once; what an emulator must be asked for is a promise, so that the
 * scrape decides how long it waits.
 */
import type { VmState } from '@kvasir/contract'
import type { NicCounters } from '../../model/network/link-counters.ts'
import { tapName } from '../../model/network/link-names.ts'
import { dropsOf, type RuleDrops } from '../../model/network/rule-counts.ts'
import type { VmView } from '../../ports/drivers.ts'
import type { BlockCounters, EmulatorStatistics } from '../../ports/emulators.ts'
import type { Context } from '../context.ts'
import { volumeWords } from '../volumes/volume-words.ts'

/** Counters of one disk since its emulator started. */
export interface DiskSample extends BlockCounters {
  /** The volume behind it. */
  readonly source: string
  readonly capacityBytes?: number | undefined
}

/** Counters of one NIC since its tap was made. */
export interface NicSample extends NicCounters {
  readonly tap: string
  /** Packets that the rules of its network dropped, as they were last seen. */
  readonly ruleDrops?: RuleDrops | undefined
  readonly bridge: string
}

/** What only a running emulator can tell. */
export interface RunSample {
  /** What the guest may use now: the balloon's size. */
  readonly memoryBytes: number
  readonly residentBytes: number
  readonly swappedBytes: number
  readonly ksmBytes?: number | undefined
  /** What the guest says that it could use without swapping. */
  readonly guestAvailableBytes?: number | undefined
  readonly cpuSeconds: number
  readonly vcpus: readonly {
    readonly index: number
    readonly cpuSeconds: number
    readonly waitSeconds: number
  }[]
  readonly disks: readonly DiskSample[]
  readonly nics: readonly NicSample[]
}

/** One VM at a scrape. */
export interface VmSample {
  readonly name: string
  readonly uuid: string
  readonly state: VmState
  readonly maximumMemoryBytes: number
  readonly vcpuCount: number
  readonly accelerator?: 'kvm' | 'tcg' | undefined
  /** Undefined when it does not run. Rejects or stays open when its emulator does not answer. */
  readonly run: Promise<RunSample> | undefined
}

/** The host at a scrape. */
export interface HostSample {
  readonly totalBytes: number
  readonly availableBytes: number
  readonly swapFreeBytes: number
  readonly ksmSavedBytes?: number | undefined
  readonly zswapPoolBytes?: number | undefined
  readonly zswapStoredBytes?: number | undefined
}

/** A sample of the host. */
export async function sampleHost({ ports }: Context): Promise<HostSample> {
  const { totalBytes, availableBytes, features } = await ports.host.memory()
  const { ksm, zswap, swap } = features
  return {
    totalBytes,
    availableBytes,
    swapFreeBytes: swap.freeBytes,
    ksmSavedBytes: ksm.savedBytes,
    zswapPoolBytes: zswap.poolBytes,
    zswapStoredBytes: zswap.storedBytes,
  }
}

/** A sample of every VM. */
export async function collectSamples(context: Context): Promise<readonly VmSample[]> {
  return context.drivers.list().map((driver) => {
    const view = driver.view()
    const { record, emulator } = view
    return {
      name: record.name,
      uuid: record.id,
      state: record.life.state,
      maximumMemoryBytes: record.spec.memory.size,
      vcpuCount: (record.run?.bootedSpec ?? record.spec).cpu.count,
      accelerator: record.run?.accelerator,
      run: emulator?.statistics().then((statistics) => runSample(view, statistics, context)),
    }
  })
}

function runSample({ record }: VmView, statistics: EmulatorStatistics, context: Context): RunSample {
  const { volumes } = context.ports.store
  const disks = statistics.disks.map((counters) => {
    const disk = record.spec.disks.find((candidate) => candidate.name === counters.disk)
    const { pool = 'default', volume = '' } = disk ?? {}
    const source = volumeWords({ pool, name: volume })
    return { ...counters, source, capacityBytes: volumes.find(pool, volume)?.capacityBytes }
  })
  const nics = statistics.nics.map((counters) => {
    const nic = record.run?.bootedSpec.nics.find(({ name }) => name === counters.nic)
    const network = context.ports.store.networks.findByName(nic?.network ?? '')
    const tap = tapName(record.id, counters.nic)
    const ruleDrops = network && dropsOf(tap, context.networks.sight(network).ruleCounts)
    return { ...counters, tap, bridge: network?.bridge ?? '', ruleDrops }
  })
  const { balloonBytes, plugged, guestMemory } = statistics
  const memoryBytes =
    balloonBytes === undefined ? record.spec.memory.size : balloonBytes + (plugged?.pluggedBytes ?? 0)
  return { ...statistics, memoryBytes, guestAvailableBytes: guestMemory?.availableBytes, disks, nics }
}
