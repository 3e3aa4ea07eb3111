/**
 * The place of a VM that runs and whose stored placement cannot be read, as one that a later version wrote: read back from where its
 * threads may run. It holds these CPUs then, and is planned anew at its next start.
 */
import type { PlacementPlan } from '@kvasir/contract'
import { parseCpuList } from '@kvasir/contract'
import type { Seat } from '../../ports/drivers.ts'
import type { EmulatorStatistics } from '../../ports/emulators.ts'
import type { VmRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'

/** No digest of a VM and a host, so that no start takes the place for one that it may keep. */
const basis = 'read back from its threads'

/** Tells of a placement that is lost, and reads it back where an emulator runs. One that cannot be read back stays lost. */
export async function readBackPlacement(
  seat: Seat,
  { ports, emit }: Pick<Context, 'ports' | 'emit'>,
): Promise<void> {
  const { record, emulator } = seat
  const { placementLost, name } = record
  if (placementLost === undefined || !emulator) return
  try {
    const plan = planOf(record, await emulator.statistics())
    const placement = plan && { plan, basis }
    seat.update({ placement, placementLost: undefined }, () =>
      emit('vm.placement-lost', name, {
        uuid: record.id,
        reason: placementLost,
        readBack: plan?.summary ?? null,
      }),
    )
    ports.log.warn({ vm: name, reason: placementLost, plan: plan?.summary }, 'a lost placement was read back')
  } catch (cause) {
    ports.log.error(
      { vm: name, reason: placementLost, err: cause },
      'a lost placement could not be read back; no VM gets CPUs for itself until it is',
    )
  }
}

/** Tells of a VM that is off and has lost its placement: its next start plans it anew. */
export function forgetPlacement(seat: Seat, { ports, emit }: Pick<Context, 'ports' | 'emit'>): void {
  const { placementLost, name, id } = seat.record
  if (placementLost === undefined) return
  seat.update({ placementLost: undefined }, () =>
    emit('vm.placement-lost', name, { uuid: id, reason: placementLost, readBack: null }),
  )
  ports.log.warn({ vm: name, reason: placementLost }, 'a lost placement is planned anew at the next start')
}

/** What the threads of a VM say of its place; undefined for one that was started without. Throws when they say nothing. */
function planOf(
  { spec, run }: Pick<VmRecord, 'spec' | 'run'>,
  { vcpus, emulatorThread, ioThreads }: Pick<EmulatorStatistics, 'vcpus' | 'emulatorThread' | 'ioThreads'>,
): PlacementPlan | undefined {
  const { placement, numa } = (run?.bootedSpec ?? spec).cpu
  if (placement === 'none') return undefined
  const cpusOf = (list: string) => [...(parseCpuList(list) ?? [])]
  if (vcpus.length === 0) throw new Error('the emulator tells of no vCPU')
  const count = `${vcpus.length} vCPU${vcpus.length === 1 ? '' : 's'}`
  const all = vcpus.map(({ cpus }) => cpus).join(' and ')
  return {
    placement,
    numa,
    summary: `${placement}: ${count} on CPUs ${all}, read back from its threads`,
    threads: {
      vcpus: vcpus.map(({ index, cpus }) => ({ vcpu: index, cpus: cpusOf(cpus) })),
      ...(emulatorThread ? { emulator: cpusOf(emulatorThread.cpus) } : {}),
      ioThreads: ioThreads.map(({ disk, cpus }) => ({ disk, cpus: cpusOf(cpus) })),
    },
    steps: ['The stored placement could not be read, so it was read back from where the threads may run.'],
    candidates: [],
    warnings: ['Memory of nodes and CPUs of vCPUs that are plugged later are not known.'],
  }
}
