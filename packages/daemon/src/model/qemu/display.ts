/**
 * The display: one card, whoever looks at it. A standard VGA card, for which every guest has a driver; or virtio-vga, which is one until the
 * guest's driver takes over and then has the size that the viewer asks for (QEMU: docs/system/devices/virtio-gpu). Not on microvm.
 */
import { KvasirError } from '@kvasir/contract'
import { hasDisplay } from '../pci/layout.ts'
import type { BuildContext } from './build-context.ts'
import type { HardwareInput } from './hardware.ts'
import { jsonOption } from './options.ts'
import { lacksType } from './version.ts'

/** The arguments for the card; QEMU shows it to nobody by itself. */
export function displayArgs({ input, bus }: BuildContext): readonly string[] {
  if (!hasDisplay(input.spec)) return ['-display', 'none']
  const { driver, ...properties } = cardOf(input)
  return [
    ...jsonOption('-device', { driver, id: 'display', ...bus.place('display'), ...properties }),
    '-display',
    'none',
  ]
}

function cardOf(input: HardwareInput) {
  if (input.spec.devices.display !== 'virtio') return { driver: 'VGA', vgamem_mb: 16 }
  if (!lacksType(input.qemu, 'virtio-vga')) return { driver: 'virtio-vga', max_outputs: 1 }
  throw new KvasirError(
    'unsupported',
    `VM ${input.name} has the display virtio, which the QEMU of this host lacks (virtio-vga), so it cannot start; install the package qemu-system-modules-opengl (in Debian 12 it is in qemu-system-common), or choose the display vga.`,
    { details: { field: 'devices.display' } },
  )
}
