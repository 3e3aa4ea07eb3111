/**
 * Plugs channels into a running VM and takes them away.
 *
 *     row: spec, `movingChannels` ─┬▶ a socket that listens, QEMU has it, the port ─▶ row: the run has it ─────▶ not moving
 *                                  └▶ QEMU takes the port away ─▶ remove its socket ─▶ row: the run has it not ─┘
 *
 * No guest is asked: a port goes at once, and who has it open reads its end. What is the same for other devices is in set-moving.ts.
 */
import { KvasirError } from '@kvasir/contract'
import { channelPortId, planChannel } from '../../model/qemu/channels.ts'
import { channelsOfSpec } from '../../model/vm/channel-rules.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { VmRecord } from '../../ports/store.ts'
import { withoutGoneChannel, withPluggedChannel } from './moved-channels.ts'
import type { MovingKind, MovingTask } from './moving-kind.ts'
import { withoutMoving } from './names-to-move.ts'

/** What plugging may take, which no guest has a say in. */
const plugMs = 60_000

export const channelKind: MovingKind = {
  job: 'vm.set-channels',
  noun: 'channel',
  takeOut: (vm, name) => `channel remove ${vm} ${name}`,
  field: 'movingChannels',
  event: 'channel',
  bringMs: plugMs,
  points: {
    beforeAsk: 'vm.channels.before-ask',
    afterAsk: 'vm.channels.after-ask',
    afterRelease: 'vm.channels.after-release',
    afterRemove: 'vm.channels.after-remove',
  },
  names: channelsOfSpec,
  idOf: channelPortId,
  part: (emulator) => emulator.channels,
  bring,
  remove: async (_seat, emulator, name) => await emulator.channels.remove(name),
  without: (run, { name, emulator }) => withoutGoneChannel(run, { channel: name, emulator }),
}

async function bring(seat: Seat, name: string, { emulator, ports, onStep }: MovingTask): Promise<string> {
  const { record } = seat
  if (!record.run) return ''
  const isBooted = channelsOfSpec(record.run.bootedSpec).includes(name)
  if (isBooted && (await emulator.channels.present([name])).length > 0) {
    seat.update({ run: withoutMoving(record.run, 'movingChannels', name) })
    return `Channel ${name} stays.`
  }
  const plan = planChannel(record, name)
  requireFreePort(record, plan.channel, plan.ids.socket)
  onStep(`plugging channel ${name}`)
  await ports.failpoint('vm.channels.before-plug')
  await emulator.channels.plug(plan)
  await ports.failpoint('vm.channels.after-plug')
  const { run } = seat.record
  if (run) seat.update({ run: withPluggedChannel(run, { channel: name, emulator: emulator.record }) })
  return `Channel ${name} is plugged.`
}

/** So many others were there that it was given the port of one that has not gone yet, and gets that at the next boot. */
function requireFreePort({ name, run }: VmRecord, channel: string, socket: string): void {
  const there = Object.entries(run?.emulator.plan.ids.channels ?? {})
  const holder = there.find(([other, ids]) => other !== channel && ids.socket === socket)?.[0]
  if (holder === undefined) return
  throw new KvasirError(
    'unsupported',
    `VM ${name} has channel ${holder} on the port that channel ${channel} is to have, so that is not plugged.`,
    { details: { channel } },
  )
}
