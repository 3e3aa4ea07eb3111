/**
 * Plugs shares into a running VM and takes them away.
 *
 *     row: spec, `movingShares` ─┬▶ what serves the folder, the device ─▶ row: the run has it ──────────────────▶ not moving
 *                                └▶ ask the guest ─▶ it let go ─▶ remove its socket, what serves ends ─▶ row ─────┘
 *
 * What is the same for other devices is in set-moving.ts.
 */
import { KvasirError } from '@kvasir/contract'
import { portCount, portNumber } from '../../model/pci/layout.ts'
import { planShare, shareId } from '../../model/qemu/shares.ts'
import { shareOf } from '../../model/vm/share-rules.ts'
import { isSameValue } from '../../model/vm/spec-fields.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { VmRecord } from '../../ports/store.ts'
import { withoutGoneShare, withPluggedShare } from './moved-shares.ts'
import type { MovingKind, MovingTask } from './moving-kind.ts'
import { withoutMoving } from './names-to-move.ts'

/** What plugging may take, which no guest has a say in. */
const plugMs = 60_000

export const shareKind: MovingKind = {
  job: 'vm.set-shares',
  noun: 'share',
  takeOut: (vm, name) => `share remove ${vm} ${name}`,
  field: 'movingShares',
  event: 'share',
  bringMs: plugMs,
  points: {
    beforeAsk: 'vm.shares.before-ask',
    afterAsk: 'vm.shares.after-ask',
    afterRelease: 'vm.shares.after-release',
    afterRemove: 'vm.shares.after-remove',
  },
  names: ({ shares }) => shares.map(({ name }) => name),
  idOf: shareId,
  part: (emulator) => emulator.shares,
  bring,
  remove: async (_seat, emulator, name) => await emulator.shares.remove(name),
  without: withoutGoneShare,
}

async function bring(seat: Seat, name: string, { emulator, ports, onStep }: MovingTask): Promise<string> {
  const { run, spec, name: vm, hardware } = seat.record
  const share = shareOf(spec, name)
  if (!run || !share) return ''
  const there = shareOf(run.bootedSpec, name)
  if (there && (await emulator.shares.present([name])).length > 0) {
    if (!isSameValue(there, share))
      throw new KvasirError('wrong-state', `VM ${vm} still has another share ${name}.`)
    seat.update({ run: withoutMoving(run, 'movingShares', name) })
    return `Share ${name} stays.`
  }
  requirePort(seat.record, name)
  onStep(`plugging share ${name}`)
  await ports.failpoint('vm.shares.before-plug')
  await emulator.shares.plug(planShare({ name: vm, spec, hardware, virtiofsd: ports.host.virtiofsd() }, name))
  await ports.failpoint('vm.shares.after-plug')
  const now = seat.record.run
  if (now) seat.update({ run: withPluggedShare(now, { share, hardware, emulator: emulator.record }) })
  return `Share ${name} is plugged.`
}

/** A share that was given a place which the emulator was started without gets it at the next boot. */
function requirePort({ name, hardware, run }: VmRecord, share: string): void {
  const address = hardware.pci[shareId(share)]
  const booted = run?.bootedHardware
  if (address && booted && portNumber(address) < portCount(booted)) return
  throw new KvasirError(
    'unsupported',
    `VM ${name} has no slot left to plug share ${share} into, so it is not plugged.`,
    { details: { share } },
  )
}
