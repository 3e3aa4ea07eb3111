/**
 * The instant of a snapshot: the emulator goes over to its overlays in one transaction, and volumes of pools with snapshots of their own
 * are cloned. A clone is of one instant by itself; where there is more than one thing to do, the guest stands meanwhile.
 *
 * Clones come first: what goes wrong with them leaves the emulator as it was.
 */
import type { Seat } from '../../ports/drivers.ts'
import type { NewOverlay } from '../../ports/emulator-blocks.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import type { Context } from '../context.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { makeVolumeFile, pathOf } from '../volumes/volume-files.ts'
import { layerOptions } from './layer-options.ts'
import type { DiskSwitch } from './plan-switch.ts'
import { thaw } from './settle-snapshots.ts'
import { whileStanding } from './stand-still.ts'

interface TakeOver {
  readonly disks: readonly DiskSwitch[]
  readonly request: { readonly quiesce: boolean; readonly job: JobHandle }
  readonly context: Context
}

/** Does what makes the instant; answers how long disks or guest waited for it, in milliseconds, where there was somebody to wait. */
export async function takeOver(
  seat: Seat,
  { disks, request, context }: TakeOver,
): Promise<number | undefined> {
  const { ports } = context
  const { emulator } = seat
  const copies = disks.flatMap((one) => (one.kind === 'copy' ? [one.copy] : []))
  const takeCopies = async () => {
    for (const copy of copies) {
      request.job.signal.throwIfAborted()
      await makeVolumeFile(copy, ports)
      await ports.failpoint('snapshot.create.after-volume-file')
    }
  }
  if (!emulator) {
    await takeCopies()
    return undefined
  }
  const overlays = await openOverlays(seat, emulator, { disks, ports })
  if (overlays.length + copies.length === 0) return undefined
  const freezes = request.quiesce && seat.record.life.state === 'running'
  request.job.progress(freezes ? 'freezing the guest' : 'switching')
  const startedAt = ports.clock.monotonicMs()
  const layOver = async () => (overlays.length > 0 ? await emulator.blocks.layOver(overlays) : undefined)
  try {
    if (freezes) await emulator.agent.freeze()
    if (copies.length === 0) {
      const laid = await layOver()
      if (!freezes) return laid?.waitedMs
    } else if (overlays.length + copies.length === 1) await takeCopies()
    else
      await whileStanding(seat, 'a snapshot of its disks is being taken', async () => {
        await takeCopies()
        await layOver()
      })
  } finally {
    if (freezes) await thaw(emulator, ports)
  }
  return ports.clock.monotonicMs() - startedAt
}

/** The overlays of disks that the emulator has: one that waits for the next boot is none of its. */
async function openOverlays(
  seat: Seat,
  emulator: Emulator,
  { disks, ports }: { readonly disks: readonly DiskSwitch[]; readonly ports: Ports },
): Promise<readonly NewOverlay[]> {
  const laid = disks.flatMap((one) => (one.kind === 'overlay' ? [one] : []))
  if (laid.length === 0) return []
  const paths = new Map(laid.map(({ disk, volume }) => [disk, pathOf(volume, ports)]))
  const chains = await emulator.blocks.chains({ disks: [...paths.keys()], files: [...paths.values()] })
  return laid.flatMap(({ disk, successor }) => {
    const spec = seat.record.spec.disks.find(({ name }) => name === disk)
    const top = chains.find((chain) => chain.disk === disk)?.layers[0]
    if (!spec || top === undefined || top.path !== paths.get(disk)) return []
    const path = pathOf(successor, ports)
    const options = layerOptions({ disk: spec, volume: successor }, seat.record, ports)
    return [{ disk, over: top, path, id: successor.id, options }]
  })
}
