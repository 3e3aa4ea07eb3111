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
