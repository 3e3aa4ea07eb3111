/** The display: a standard VGA card, seen by VNC on a UNIX socket that QEMU makes in its share directory. Not on microvm. */
import type { BuildContext } from './build-context.ts'
import { shareDirectory } from './emulator-plan.ts'
import type { HardwareInput } from './hardware.ts'
import { jsonOption } from './options.ts'
import { audioId } from './sound.ts'

/** The file name of the VNC socket in the share directory; undefined for a VM without a display. */
export function vncSocketName(input: HardwareInput): string | undefined {
  return input.spec.devices.vnc && input.spec.machine.type === 'q35' ? 'vnc.sock' : undefined
}

/** The arguments for the display, or for none. */
export function vncArgs({ input, bus }: BuildContext): readonly string[] {
  const socketName = vncSocketName(input)
  if (socketName === undefined) return ['-display', 'none']
  return [
    ...jsonOption('-device', { driver: 'VGA', id: 'display', ...bus.place('display'), vgamem_mb: 16 }),
    '-display',
    'none',
    '-vnc',
    `unix:${shareDirectory}/${socketName},share=force-shared${input.spec.devices.sound ? `,audiodev=${audioId}` : ''}`,
  ]
}
