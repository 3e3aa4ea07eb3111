/**
 * Sound: an HD Audio card whose samples go nowhere on the host, which has no sound server in the cage; a viewer by SPICE hears them, or one
 * that knows QEMU's audio messages of VNC.
 */
import type { BuildContext } from './build-context.ts'
import { jsonOption } from './options.ts'

/** The id of the audio backend. */
export const audioId = 'audio'

/** The arguments for the card and what is behind it; they come before the display's. */
export function soundArgs({ input, bus }: BuildContext): readonly string[] {
  if (!input.spec.devices.sound) return []
  return [
    '-audiodev',
    `${input.spec.devices.spice ? 'spice' : 'none'},id=${audioId}`,
    ...jsonOption('-device', { driver: 'ich9-intel-hda', id: 'sound', ...bus.place('sound') }),
    ...jsonOption('-device', {
      driver: 'hda-duplex',
      id: 'codec',
      bus: 'sound.0',
      cad: 0,
      audiodev: audioId,
    }),
  ]
}
