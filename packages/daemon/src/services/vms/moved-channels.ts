/** What a run is once a channel has come or gone. */
import { channelNumbers } from '../../model/qemu/channels.ts'
import { channelsOfSpec, movedChannels } from '../../model/vm/channel-rules.ts'
import type { VmRecord, VmRun } from '../../ports/store.ts'
import { keptPorts } from './moved-disks.ts'
import { namesToMove, type WantedMove, withoutMoving } from './names-to-move.ts'

/** The field of a plan by which channels come and go. */
export const channelsField = 'devices.channels'

/** The channels that are to be plugged or taken away now. */
export function channelsToMove(record: VmRecord, wanted: WantedMove): readonly string[] {
  const fieldsOf = () => [channelsField]
  return namesToMove(record, wanted, { field: 'movingChannels', moved: movedChannels, fieldsOf })
}

/** The run after a channel has come. */
export function withPluggedChannel(
  run: VmRun,
  came: { readonly channel: string; readonly emulator: VmRun['emulator'] },
): VmRun {
  const others = channelsOfSpec(run.bootedSpec).filter((name) => name !== came.channel)
  return withChannels(run, { ...came, channels: [...others, came.channel] })
}

/** The run after a channel has gone, whether the spec has it or not. */
export function withoutGoneChannel(
  run: VmRun,
  gone: { readonly channel: string; readonly emulator: VmRun['emulator'] },
): VmRun {
  const channels = channelsOfSpec(run.bootedSpec).filter((name) => name !== gone.channel)
  return withChannels(run, { ...gone, channels })
}

/** Which numbers they have says the emulator: the oldest rows do not. */
function withChannels(
  run: VmRun,
  now: {
    readonly channel: string
    readonly channels: string[]
    readonly emulator: VmRun['emulator']
  },
): VmRun {
  const { emulator, channels, channel } = now
  const { bootedSpec, bootedHardware } = run
  return {
    ...withoutMoving(run, 'movingChannels', channel),
    emulator,
    bootedSpec: { ...bootedSpec, devices: { ...bootedSpec.devices, channels } },
    ...(bootedHardware
      ? {
          bootedHardware: {
            ...keptPorts(bootedHardware),
            channels: channelNumbers(emulator.plan.ids),
          },
        }
      : {}),
  }
}
