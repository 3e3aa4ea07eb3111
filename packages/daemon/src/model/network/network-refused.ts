/** The refusal of a network that cannot be as it was asked for. */
import { KvasirError } from '@kvasir/contract'

/** `network-refused`, with what does not fit. */
export function refused(name: string, why: string): KvasirError {
  return new KvasirError('network-refused', `Network ${name} cannot be made: ${why}.`, {
    details: { network: name },
  })
}
