/**
 * Channels: ports of the virtio-serial controller under names of the user's, each on a listening socket of its own. QEMU takes one connection
 * at a time on each, and discards what a guest says while nobody is connected; a driver of Linux makes its writers wait instead.
 */
import type { BuildContext } from './build-context.ts'
import type { ChannelIds, EmulatorPlan } from './emulator-plan.ts'
import type { HardwareInput } from './hardware.ts'
import { deviceId } from './ids.ts'
import { jsonOption } from './options.ts'
import { serialBus } from './serial-bus.ts'

/** Port 0 is for consoles, 1 is the guest agent's, 30 that of SPICE. */
const firstPort = 2

/** The arguments for the channels; they come after the controller's. */
export function channelArgs({ input, descriptors }: BuildContext): readonly string[] {
  return channelEntries(input).flatMap(([name, { device, socket }], index) => [
    '-chardev',
    `socket,id=${device},fd=${descriptors.add({ kind: 'listener', socket })},server=on,wait=off`,
    ...jsonOption('-device', {
      driver: 'virtserialport',
      id: `${device}-port`,
      bus: serialBus,
      nr: firstPort + index,
      chardev: device,
      name,
    }),
  ])
}

/** Where each channel is. */
export function channelsOf(input: HardwareInput): Pick<EmulatorPlan['ids'], 'channels'> {
  const entries = channelEntries(input)
  return entries.length === 0 ? {} : { channels: Object.fromEntries(entries) }
}

function channelEntries({ spec }: HardwareInput): readonly (readonly [name: string, ids: ChannelIds])[] {
  return (spec.devices.channels ?? []).map((name, index) => [
    name,
    { device: deviceId('channel', name), socket: `channel${index}` },
  ])
}
