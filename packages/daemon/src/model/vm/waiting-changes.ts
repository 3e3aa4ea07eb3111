/**
 * Changes that a VM was given while it ran, and that wait for its next boot.
 *
 * Invariant: memory fits only the hardware it was saved with. So a VM that is saved while changes wait goes on with the old hardware
 * when it starts, and they go on waiting.
 */
import type { VmSpec } from '@kvasir/contract'
import { planChanges, type Situation } from './plan-changes.ts'

/** The fields in which the spec of now differs from the one that was booted, and that an emulator has from its start on. */
export function waitingFields({
  booted,
  now,
  plugMemory,
}: Pick<Situation, 'plugMemory'> & { readonly booted: VmSpec; readonly now: VmSpec }): readonly string[] {
  return planChanges(booted, now, { state: 'running', plugMemory })
    .filter((change) => change.effect !== 'live')
    .map((change) => change.field)
}

/** What saved memory is loaded with: what was booted, in memory that the host makes as the spec of now says. The guest sees none of that. */
export function restoredSpec(booted: VmSpec, now: VmSpec): VmSpec {
  const { sharing, thp, ksm, nodes, nodePolicy } = now.memory
  return { ...booted, memory: { ...booted.memory, sharing, thp, ksm, nodes, nodePolicy } }
}
