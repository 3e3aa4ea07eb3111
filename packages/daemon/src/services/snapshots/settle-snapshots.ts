/**
 * A snapshot whose making was broken off, by whatever: what the emulator has open says whether it came to be.
 *
 *     phase         emulator writes to the overlays    to the volumes as before    no emulator
 *     creating      cannot be                          undone                      undone
 *     switching     finished                           undone                      finished
 *
 * Where a disk is cloned instead, all clones are there before anything goes over, or what they are to be made of is kept; without one of
 * them nothing has gone over, and all is undone.
 *
 * Without an emulator nobody can say any more whether the guest wrote to the overlays before it ended. They lie on the volumes, so with
 * them on top everything is there that was written to either; without them it might not be.
 */
import { KvasirError } from '@kvasir/contract'
import { isOff } from '../../model/vm/is-off.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import type { SnapshotRecord } from '../../ports/snapshot-record.ts'
import type { PoolRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { backendOf, placeName } from '../pools/usable-pool.ts'
import { makeVolumeFile, pathOf } from '../volumes/volume-files.ts'
import { copiesOf, type RecordedCopy, undoSnapshot, writeSwitched } from './switch-layers.ts'

/** Settles the snapshots of a VM that are being made by nobody. Leaves those of an emulator that cannot be asked. */
export async function settleSnapshots(seat: Seat, ports: Ports): Promise<void> {
  for (const snapshot of ports.store.snapshots.ofVm(seat.record.id)) {
    if (snapshot.phase === 'creating') await whereReached(() => undoSnapshot(snapshot, ports))
    else if (snapshot.phase === 'switching') await settleSwitch(seat, snapshot, ports)
  }
}

/** Settles the snapshots that could not be while a pool did not answer. */
export async function settleSnapshotsIn(pool: Pick<PoolRecord, 'name'>, context: Context): Promise<void> {
  const { store, log } = context.ports
  const liesThere = (id = '') => {
    const volume = store.volumes.get(id)
    return volume !== undefined && placeName(volume) === pool.name
  }
  const pending = store.snapshots
    .list()
    .filter(
      ({ phase, layers }) =>
        (phase === 'creating' || phase === 'switching') &&
        layers.some(({ successorId, copyId }) => liesThere(successorId ?? copyId)),
    )
  for (const vmId of new Set(pending.map(({ vmId }) => vmId)))
    await context.drivers
      .get(vmId)
      ?.take('edit', (seat) => settleSnapshots(seat, context.ports))
      .catch((error: unknown) => {
        if (error instanceof KvasirError && error.code === 'busy') return // Who is at it settles it, too.
        log.warn({ vm: vmId, err: error }, 'whether a snapshot was taken is asked again later')
      })
}

async function settleSwitch(seat: Seat, snapshot: SnapshotRecord, ports: Ports): Promise<void> {
  const { emulator } = seat
  if (!emulator && !isOff(seat.record)) return
  await whereReached(() => finishOrUndo(seat, snapshot, ports))
}

/** What cannot be done while a pool does not answer is when it does; until then the volume that the VM has is what it was. */
async function whereReached(work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!(error instanceof KvasirError && error.code === 'pool-unreachable')) throw error
  }
}

async function finishOrUndo({ emulator }: Seat, snapshot: SnapshotRecord, ports: Ports): Promise<void> {
  if (emulator && snapshot.quiesced) await thaw(emulator, ports)
  const isCopied = await hasCopies(snapshot, ports)
  if (!emulator) {
    if (isCopied) await finish(snapshot, ports)
    else await undoSnapshot(snapshot, ports)
    return
  }
  if (isCopied && (await hasSwitched(emulator, snapshot, ports))) {
    await finish(snapshot, ports)
    return
  }
  await emulator.blocks.close(overlayPaths(snapshot, ports))
  await undoSnapshot(snapshot, ports)
}

/** A guest must never stay frozen; one without an agent never was. */
export async function thaw(emulator: Emulator, { log }: Ports): Promise<void> {
  await emulator.agent
    .thaw()
    .catch((cause: unknown) => log.warn({ err: cause }, 'a guest was not told to write again'))
}

async function hasSwitched(emulator: Emulator, snapshot: SnapshotRecord, ports: Ports): Promise<boolean> {
  const overlays = overlayPaths(snapshot, ports)
  if (overlays.length === 0) return true
  const disks = snapshot.layers.map(({ disk }) => disk)
  const chains = await emulator.blocks.chains({ disks, files: overlays })
  return chains.some(({ layers: [top] }) => top !== undefined && overlays.includes(top.path))
}

/** Makes the clones that are still to be made of what was kept for them. */
async function finish(snapshot: SnapshotRecord, ports: Ports): Promise<void> {
  for (const one of copiesOf(snapshot, ports))
    if (await isKept(one, ports)) await makeVolumeFile(one.copy, ports)
  writeSwitched(snapshot, ports, undefined)
}

/** Whether the variables of its UEFI were copied, and all clones made or can be, which comes before anything goes over: they are of one instant, or not all of them are there. */
async function hasCopies(snapshot: SnapshotRecord, ports: Ports): Promise<boolean> {
  const { nvramId } = snapshot
  if (nvramId !== undefined && !(await ports.files.listNvrams()).includes(nvramId)) return false
  const copies = copiesOf(snapshot, ports)
  if (copies.length < snapshot.layers.filter(({ copyId }) => copyId !== undefined).length) return false
  for (const one of copies) {
    const isThere =
      (await isKept(one, ports)) || (await backendOf(one.copy, ports).allocatedBytes(one.copy)) !== undefined
    if (!isThere) return false
  }
  return true
}

async function isKept(one: RecordedCopy, ports: Ports): Promise<boolean> {
  return (await backendOf(one.copy, ports).moments?.isKept(one)) ?? false
}

function overlayPaths({ layers }: SnapshotRecord, ports: Ports): readonly string[] {
  return layers.flatMap(({ successorId = '' }) => {
    const successor = ports.store.volumes.get(successorId)
    return successor ? pathOf(successor, ports) : []
  })
}
