/** VNC, on a UNIX socket that QEMU makes in its share directory. Not on microvm. */
import type { BuildContext } from './build-context.ts'
import { shareDirectory } from './emulator-plan.ts'
import type { HardwareInput } from './hardware.ts'
import { audioId } from './sound.ts'

/** The file name of the VNC socket in the share directory; undefined for a VM without a display. */
export function vncSocketName({ spec }: Pick<HardwareInput, 'spec'>): string | undefined {
  return spec.devices.vnc && spec.machine.type === 'q35' ? 'vnc.sock' : undefined
}

/** The arguments for VNC; they come after the display's. */
export function vncArgs({ input }: BuildContext): readonly string[] {
  const socketName = vncSocketName(input)
  if (socketName === undefined) return []
  return [
    '-vnc',
    `unix:${shareDirectory}/${socketName},share=force-shared${input.spec.devices.sound ? `,audiodev=${audioId}` : ''}`,
  ]
}
