/**
 * The display: one card, whoever looks at it. A standard VGA card, for which every guest has a driver; or virtio-vga, which is one until the
 * guest's driver takes over and then has the size that the viewer asks for (QEMU: docs/system/devices/virtio-gpu). Not on microvm.
 *
 * With 3D, QEMU draws on a render node of the host and reads the picture back (ui/egl-headless.c), so VNC and SPICE show it as any other. SPICE's
 * own way (gl=on) hands the picture over by descriptors, which reach no viewer but one on the same UNIX socket.
 */
import { KvasirError } from '@kvasir/contract'
import { glCard } from '../host/judge-graphics.ts'
import { hasDisplay } from '../pci/layout.ts'
import type { BuildContext } from './build-context.ts'
import type { HardwareInput } from './hardware.ts'
import { jsonOption, keyValues } from './options.ts'
import { lacksType } from './version.ts'

/** The arguments for the card; QEMU shows it to nobody by itself. */
export function displayArgs({ input, bus }: BuildContext): readonly string[] {
  if (!hasDisplay(input.spec)) return ['-display', 'none']
  const { driver, ...properties } = cardOf(input)
  const rendernode = renderNodeOf(input)
  return [
    ...jsonOption('-device', { driver, id: 'display', ...bus.place('display'), ...properties }),
    '-display',
    rendernode === undefined ? 'none' : keyValues('egl-headless', { rendernode }),
  ]
}

/** The render node that the emulator draws on; undefined for a VM without 3D. */
export function renderNodeOf({ name, spec, renderNode }: HardwareInput): string | undefined {
  if (!hasDisplay(spec) || spec.devices.display !== 'virtio-gl') return undefined
  if (renderNode !== undefined) return renderNode
  throw new KvasirError('internal', `VM ${name} has 3D, and no render node was chosen for it.`)
}

function cardOf(input: HardwareInput) {
  const { display = 'vga' } = input.spec.devices
  if (display === 'vga') return { driver: 'VGA', vgamem_mb: 16 }
  const driver = display === 'virtio-gl' ? glCard : 'virtio-vga'
  if (!lacksType(input.qemu, driver)) return { driver, max_outputs: 1 }
  throw new KvasirError(
    'unsupported',
    `VM ${input.name} has the display ${display}, which the QEMU of this host lacks (${driver}), so it cannot start; install the package qemu-system-modules-opengl (in Debian 12 it is in qemu-system-common), or choose the display vga.`,
    { details: { field: 'devices.display' } },
  )
}
