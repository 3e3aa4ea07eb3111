/**
 * Channels: ports of the virtio-serial controller under names of the user's, each on a listening socket of its own. QEMU takes one connection
 * at a time on each, and discards what a guest says while nobody is connected; a driver of Linux makes its writers wait instead.
 *
 * A port comes to a guest that runs and goes from it without the guest's leave (QEMU: hw/char/virtio-serial-bus.c, a port is unplugged by
 * qdev_simple_device_unplug_cb). Saved memory fits only ports of the same numbers, so a channel keeps the number that it was given.
 */
import type { BuildContext } from './build-context.ts'
import type { QemuOptions } from './disk-plan.ts'
import type { ChannelIds, EmulatorPlan } from './emulator-plan.ts'
import type { HardwareInput } from './hardware.ts'
import { deviceId } from './ids.ts'
import { jsonOption } from './options.ts'
import { serialBus } from './serial-bus.ts'

/** Port 0 is for consoles, 1 is the guest agent's, 30 that of SPICE. */
const firstPort = 2

/** What channels are planned from. */
export type ChannelInput = Pick<HardwareInput, 'spec' | 'hardware'>

/** A channel that is plugged while the guest runs. */
export interface ChannelPlan {
  readonly channel: string
  readonly ids: ChannelIds
  readonly device: QemuOptions & { readonly driver: string; readonly id: string }
}

/** One channel of a spec, as the next boot would make it. */
export function planChannel(input: ChannelInput, name: string): ChannelPlan {
  const plan = channelPlans(input).find(({ channel }) => channel === name)
  if (!plan) throw new TypeError(`There is no channel ${name} in the spec.`)
  return plan
}

/** The arguments for the channels; they come after the controller's. */
export function channelArgs({ input, descriptors }: BuildContext): readonly string[] {
  return channelPlans(input).flatMap(({ ids, device }) => [
    '-chardev',
    `socket,id=${ids.device},fd=${descriptors.add({ kind: 'listener', socket: ids.socket })},server=on,wait=off`,
    ...jsonOption('-device', device),
  ])
}

/** Where each channel is. */
export function channelsOf(input: ChannelInput): Pick<EmulatorPlan['ids'], 'channels'> {
  const entries = channelPlans(input).map(({ channel, ids }) => [channel, ids] as const)
  return entries.length === 0 ? {} : { channels: Object.fromEntries(entries) }
}

/** The id of a channel's device in QEMU: its port, which goes before its character device does. */
export function channelPortId(name: string): string {
  return `${deviceId('channel', name)}-port`
}

/** The numbers that channels have in an emulator, by their names. */
export function channelNumbers({ channels = {} }: EmulatorPlan['ids']): Readonly<Record<string, number>> {
  return Object.fromEntries(
    Object.entries(channels).map(([name, { socket }]) => [name, Number(/\d+$/.exec(socket)?.[0])]),
  )
}

function channelPlans({ spec, hardware }: ChannelInput): readonly ChannelPlan[] {
  return (spec.devices.channels ?? []).map((channel, index) => {
    const number = hardware.channels?.[channel] ?? index
    const device = deviceId('channel', channel)
    return {
      channel,
      ids: { device, socket: `channel${number}` },
      device: {
        driver: 'virtserialport',
        id: channelPortId(channel),
        bus: serialBus,
        nr: firstPort + number,
        chardev: device,
        name: channel,
      },
    }
  })
}
