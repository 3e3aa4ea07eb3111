/** The memory of the host beside what its VMs have and could claim: every running emulator is asked, for a moment each. */
import type { HostMemory } from '@kvasir/contract'
import { isHeld } from '../../model/memory/backing.ts'
import { type Claimant, claimMemory } from '../../model/memory/claim-memory.ts'
import type { VmView } from '../../ports/drivers.ts'
import type { EmulatorStatistics } from '../../ports/emulators.ts'
import type { Context } from '../context.ts'
import { bootBytesOf, ordersOf } from '../vms/situation.ts'

/** Asks host and VMs. A VM that does not answer is counted with all that it has. */
export async function readHostMemory({ ports, drivers }: Context): Promise<HostMemory> {
  const running = drivers.list().flatMap((driver) => {
    const view = driver.view()
    return view.emulator ? [{ view, emulator: view.emulator }] : []
  })
  const [memory, claimants] = await Promise.all([
    ports.host.memory(),
    Promise.all(
      running.map(async ({ view, emulator }) =>
        claimantOf(view, await emulator.statistics().catch(() => undefined)),
      ),
    ),
  ])
  const { ksm, swap } = memory.features
  const supply = {
    totalBytes: memory.totalBytes,
    availableBytes: memory.availableBytes,
    swapFreeBytes: swap.freeBytes,
    ksmSavedBytes: ksm.savedBytes ?? 0,
  }
  return {
    ...memory,
    ...claimMemory(claimants, supply),
    tuning: ports.host.tuning().map((outcome) => ({ ...outcome })),
  }
}

function claimantOf({ record }: VmView, statistics: EmulatorStatistics | undefined): Claimant {
  const { spec, run } = record
  const booted = run?.bootedSpec ?? spec
  const boot = bootBytesOf(record)
  const orders = ordersOf(record)
  const plugged = Math.max(orders.plugged ?? 0, statistics?.plugged?.pluggedBytes ?? 0)
  const { hard, swap } = spec.memory
  return {
    hasBytes: boot + plugged,
    balloonBytes: (statistics?.balloonBytes ?? boot) + plugged,
    maximumBytes: Math.max(boot + plugged, spec.memory.max ?? 0),
    held: statistics && { residentBytes: statistics.residentBytes, swappedBytes: statistics.swappedBytes },
    capBytes: hard === undefined || swap === undefined ? undefined : hard + swap,
    isHeld: isHeld(booted.memory),
    isTranslated: run?.accelerator === 'tcg',
  }
}
