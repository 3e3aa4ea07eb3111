/** The balloon, with free page reporting: pages that the guest frees go back to the host by themselves. */
import type { BuildContext } from './build-context.ts'
import { jsonOption } from './options.ts'

/** The id of the balloon device. */
export const balloonId = 'balloon'

/** The arguments for the balloon; a guest that runs out of memory takes back what it gave. */
export function balloonArgs({ input, bus }: BuildContext): readonly string[] {
  if (!input.spec.devices.balloon) return []
  return jsonOption('-device', {
    driver: 'virtio-balloon-pci',
    id: balloonId,
    ...bus.place(balloonId),
    'disable-legacy': 'on',
    'deflate-on-oom': true,
    'free-page-reporting': true,
  })
}
