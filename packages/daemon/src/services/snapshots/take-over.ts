/**
 * The instant of a snapshot: the emulator goes over to its overlays in one transaction, and volumes of pools with snapshots of their own
 * are cloned. A clone is of one instant by itself; where there is more than one thing to do, the guest stands meanwhile.
 *
 * Clones come first: what goes wrong with them leaves the emulator as it was. Where a clone takes long, only what the volume holds is kept
 * then, and the clone is made of that when the guest goes on. The variables of a UEFI are copied while the guest stands.
 */
import type { Seat } from '../../ports/drivers.ts'
import type { NewOverlay } from '../../ports/emulator-blocks.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import type { Context } from '../context.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { groundOf, makeVolumeFile, pathOf } from '../volumes/volume-files.ts'
import { layerOptions } from './layer-options.ts'
import { type DiskCopy, openMoments } from './open-moments.ts'
import type { DiskSwitch } from './plan-switch.ts'
import { thaw } from './settle-snapshots.ts'
import { whileStanding } from './stand-still.ts'

interface TakeOver {
  readonly disks: readonly DiskSwitch[]
  /** What the copy of the variables of its UEFI is called, where it has any. */
  readonly nvramId: string | undefined
  /** Waits until little of what the guest wrote is in the page cache alone. */
  readonly flushed: () => Promise<void>
  readonly request: { readonly quiesce: boolean; readonly job: JobHandle }
  readonly context: Context
}

/** Does what makes the instant; answers how long disks or guest waited for it, in milliseconds, where there was somebody to wait. */
export async function takeOver(
  seat: Seat,
  { disks, nvramId, flushed, request, context }: TakeOver,
): Promise<number | undefined> {
  const { ports } = context
  const { emulator } = seat
  const copies = disks.flatMap((one) => (one.kind === 'copy' ? [one] : []))
  const makeCopies = async (made: readonly DiskCopy[]) => {
    for (const { copy } of made) {
      request.job.signal.throwIfAborted()
      await makeVolumeFile(copy, ports)
      await ports.failpoint('snapshot.create.after-volume-file')
    }
  }
  const keepNvram = async () => {
    const { nvram } = seat.record
    if (nvram && nvramId !== undefined) await ports.files.copyNvram(nvram.id, nvramId)
  }
  if (!emulator) {
    await keepNvram()
    await makeCopies(copies)
    return undefined
  }
  const overlays = await newOverlays(seat, emulator, { disks, ports })
  // Opening an encrypted one takes half a second, for which nobody has to wait.
  await using opened = overlays.length > 0 ? await emulator.blocks.openOverlays(overlays) : undefined
  await using moments = await openMoments(copies, ports)
  const now = copies.filter((copy) => !moments.keeps(copy))
  const freezes = request.quiesce && seat.record.life.state === 'running'
  const steps = overlays.length + copies.length
  const hasNvram = nvramId !== undefined
  if (steps === 0 && !hasNvram) return undefined
  await flushed()
  request.job.progress(freezes ? 'freezing the guest' : 'switching')
  let startedAt = ports.clock.monotonicMs()
  let waitedMs: number | undefined
  const goOver = async () => {
    if (!freezes) startedAt = ports.clock.monotonicMs() // The guest stands from here on.
    await keepNvram() // First: whether the emulator has gone over says whether all is there.
    await moments.take()
    await makeCopies(now)
    const laid = await opened?.layOver()
    waitedMs =
      copies.length === 0 && !hasNvram && laid ? laid.waitedMs : ports.clock.monotonicMs() - startedAt
  }
  try {
    if (freezes) await emulator.agent.freeze()
    if (!hasNvram && (copies.length === 0 || steps === 1)) await goOver()
    else await whileStanding(seat, 'a snapshot of its disks is being taken', goOver)
  } finally {
    if (freezes) await thaw(emulator, ports)
  }
  const pauseMs = freezes ? ports.clock.monotonicMs() - startedAt : waitedMs
  await ports.failpoint('snapshot.create.after-moment')
  await makeCopies(copies.filter(moments.keeps))
  return pauseMs
}

/** The overlays of disks that the emulator has: one that waits for the next boot is none of its. */
async function newOverlays(
  seat: Seat,
  emulator: Emulator,
  { disks, ports }: { readonly disks: readonly DiskSwitch[]; readonly ports: Ports },
): Promise<readonly NewOverlay[]> {
  const laid = disks.flatMap((one) => (one.kind === 'overlay' ? [one] : []))
  if (laid.length === 0) return []
  const paths = new Map(laid.map(({ disk, volume }) => [disk, groundOf(volume, ports)]))
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
