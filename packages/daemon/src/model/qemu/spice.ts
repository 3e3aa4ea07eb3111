/**
 * SPICE, on a UNIX socket that QEMU makes in its share directory, beside VNC. Nobody comes in before a password was set by the monitor
 * (QEMU: qemu-options.hx, disable-ticketing). With it come channels for USB devices of the viewer, and one for the SPICE agent of the
 * guest (clipboard, size). Not on microvm.
 */
import { KvasirError } from '@kvasir/contract'
import { usbRedirects } from '../pci/layout.ts'
import type { BuildContext } from './build-context.ts'
import { shareDirectory } from './emulator-plan.ts'
import type { HardwareInput } from './hardware.ts'
import { jsonOption, keyValues } from './options.ts'
import { serialBus } from './serial-bus.ts'
import { usbBus } from './usb.ts'
import { lacksType } from './version.ts'

/** The last port of the serial bus: the others are numbered from the first (QEMU: hw/char/virtio-serial-bus.c). */
const agentPort = 30
/** The first port of the USB bus is the tablet's. */
const firstRedirectPort = 2

/** The file name of the SPICE socket in the share directory; undefined for a VM without SPICE. */
export function spiceSocketName({ spec }: Pick<HardwareInput, 'spec'>): string | undefined {
  return spec.devices.spice ? 'spice.sock' : undefined
}

/** The arguments for SPICE; they come after the buses. Refuses a microvm, and a QEMU without it. */
export function spiceArgs({ input }: BuildContext): readonly string[] {
  const socketName = spiceSocketName(input)
  if (socketName === undefined) return []
  requireSpice(input)
  const options = { unix: true, addr: `${shareDirectory}/${socketName}`, 'disable-ticketing': false }
  const redirects = Array.from({ length: usbRedirects(input.spec.devices) }, (_, index) => redirect(index))
  return ['-spice', keyValues(undefined, options), ...agentChannel(), ...redirects.flat()]
}

function agentChannel(): readonly string[] {
  return [
    '-chardev',
    'spicevmc,id=spice-agent,name=vdagent',
    ...jsonOption('-device', {
      driver: 'virtserialport',
      id: 'spice-agent-port',
      bus: serialBus,
      nr: agentPort,
      chardev: 'spice-agent',
      name: 'com.redhat.spice.0',
    }),
  ]
}

function redirect(index: number): readonly string[] {
  const id = `redirect${index}`
  return [
    '-chardev',
    `spicevmc,id=${id},name=usbredir`,
    ...jsonOption('-device', {
      driver: 'usb-redir',
      id: `usb-${id}`,
      chardev: id,
      bus: usbBus,
      port: String(firstRedirectPort + index),
    }),
  ]
}

function requireSpice({ name, spec, qemu }: HardwareInput): void {
  const refuse = (why: string, advice: string) =>
    new KvasirError('unsupported', `VM ${name} has SPICE, ${why}, so it cannot start; ${advice}.`, {
      details: { field: 'devices.spice' },
    })
  if (spec.machine.type !== 'q35') throw refuse('and is a microvm, which has no display', 'a q35 has one')
  if (['chardev-spicevmc', 'usb-redir'].some((type) => lacksType(qemu, type)))
    throw refuse(
      'which the QEMU of this host lacks',
      'install the package qemu-system-modules-spice (in Debian 12 it is in qemu-system-common)',
    )
}
