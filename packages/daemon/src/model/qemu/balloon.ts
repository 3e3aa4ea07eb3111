/**
 * The balloon, with free page reporting: pages that the guest frees go back to the host by themselves. Not where the host was asked to
 * hold all of the memory (huge pages, preallocated, locked): what went back there could be missing later.
 */
import { KvasirError } from '@kvasir/contract'
import { isHeld } from '../memory/backing.ts'
import type { BuildContext } from './build-context.ts'
import { jsonOption } from './options.ts'

/** The id of the balloon device. */
export const balloonId = 'balloon'

/** The arguments for the balloon; a guest that runs out of memory takes back what it gave. */
export function balloonArgs({ input, bus }: BuildContext): readonly string[] {
  if (!input.spec.devices.balloon) {
    if (input.spec.memory.target === undefined) return []
    throw new KvasirError(
      'bad-request',
      `VM ${input.name} has a target for its balloon and no balloon, so it cannot start; set devices.balloon, or remove memory.target.`,
      { details: { field: 'memory.target' } },
    )
  }
  return jsonOption('-device', {
    driver: 'virtio-balloon-pci',
    id: balloonId,
    ...bus.place(balloonId),
    'disable-legacy': 'on',
    'deflate-on-oom': true,
    'free-page-reporting': !isHeld(input.spec.memory),
  })
}
