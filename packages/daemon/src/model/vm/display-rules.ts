/** What changing the card of a display does: the guest has it from its next boot, where the host has what it takes. */
import type { ChangeRule, SpecChange } from './change-rules.ts'

/** A host without 3D starts no VM that asks for it; so the plan says. */
export function displayRule({ lacks3d }: SpecChange): ChangeRule {
  const reason = 'the guest has the card that it booted with'
  return {
    effect: 'boot',
    reason: lacks3d === undefined ? reason : `${reason}; with 3D it would not start here: ${lacks3d}`,
  }
}
