/**
 * Copies the layers under a disk that moves with its snapshots: bottom first, each on the copy of what it lies on. Nobody writes to them,
 * so the guest goes on meanwhile on the disk's own volume, which is copied last: by a mirror while the VM runs (move-disk.ts).
 *
 * What each becomes in its new pool is said by model/storage/carried-layer.ts. What is copied is what a layer has itself, so each copy
 * holds as much as its layer.
 */
import { KvasirError } from '@kvasir/contract'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord, VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { usablePlace } from '../pools/usable-pool.ts'
import { removeVolume } from '../vms/delete-vm.ts'
import { requireNoWork } from '../volumes/hold-volume.ts'
import { keepGround } from '../volumes/keep-ground.ts'
import { volumeChain } from '../volumes/volume-chain.ts'
import { removeVolumeFile, sourceOf } from '../volumes/volume-files.ts'
import { holderOf } from '../volumes/volume-use.ts'
import type { PlannedMove } from './begin-move.ts'
import { asVolume, type LayerCopy, layerCopiesOf, layersPlace, layersUnder } from './layer-rows.ts'
import { makeCopy, requireSameSize, sourcesOfCopy } from './make-copy.ts'
import { type CopyRecord, copyNow } from './move-rows.ts'

/** Beside its contents, for its tables. */
const spareBytes = 2 ** 30

/** The layers that go along with a disk; none of one without snapshots. Refuses what does not go with layers. */
export function planLayers(
  record: VmRecord,
  { disk, volume, pool, format, into }: Omit<PlannedMove, 'layers' | 'keep'>,
  ports: Ports,
): readonly VolumeRecord[] {
  const { store } = ports
  const snapshots = store.snapshots
    .ofVm(record.id)
    .filter(({ layers }) => layers.some((layer) => layer.disk === disk.name))
    .map(({ name }) => name)
  if (snapshots.length === 0) return []
  const layers = layersUnder(volume, { vmId: record.id, disk: disk.name }, store)
  const refuse = (code: 'in-use' | 'unsupported', why: string) =>
    new KvasirError(
      code,
      `Disk ${disk.name} of VM ${record.name} has ${snapshotWords(snapshots)}, and ${why}, so it is not moved. ${wayOut(record.name, snapshots)}`,
      { details: { snapshots } },
    )
  if (pool === volume.pool) throw refuse('in-use', 'its layers stay in their pool with their formats')
  const { kind } = layersPlace(pool, ports)
  const lowest = layers.filter(({ baseId }) => baseId === undefined)
  if (into && (kind !== 'ground' || lowest.length > 1 || volume.baseId === undefined))
    throw refuse(
      'in-use',
      'a volume that is there takes in only one layer, on which all others lie in files then',
    )
  if (kind === 'files' && volume.baseId !== undefined && format !== 'qcow2')
    throw refuse('in-use', 'what lies on a layer is qcow2')
  if (layers.some((layer) => layer.pool !== volume.pool))
    throw refuse('unsupported', 'one of its layers is in a third pool')
  if (layers.some((layer) => layer.encryption && (layer.format === 'raw' || kind !== 'files')))
    throw refuse('unsupported', 'encrypted layers go only as qcow2, from one pool of files to another')
  for (const layer of layers) requireNoWork(layer)
  return layers
}

function snapshotWords(names: readonly string[]): string {
  return names.length === 1 ? `snapshot ${names[0]}` : `snapshots ${names.join(', ')}`
}

function wayOut(vm: string, names: readonly string[]): string {
  const commands = names.map((name) => `\`kvasir snapshot delete ${vm} ${name}\``).join(', ')
  return `It goes without its snapshots, so after ${commands}; or what it holds now is copied there: \`kvasir vm export ${vm}\`.`
}

/** Copies the layers under the copy of a disk. Fails as soon as the move was given up. */
export async function copyLayers(
  copy: CopyRecord,
  {
    ports,
    job,
    ...how
  }: Pick<LayerWork, 'ports' | 'bytesPerSecond' | 'isLive'> & { readonly job: JobHandle },
): Promise<void> {
  const layers = layerCopiesOf(copy.id, ports.store)
  for (const [index, layer] of layers.entries()) {
    const onProgress = (fraction: number) =>
      job.progress(`copying layers of disk ${copy.move.disk}`, (index + fraction) / (layers.length + 1))
    await copyLayer(layer, { ports, ...how, copyId: copy.id, signal: job.signal, onProgress })
    await ports.failpoint('vm.move.after-layer')
  }
}

interface LayerWork {
  readonly ports: Ports
  readonly signal: AbortSignal
  readonly bytesPerSecond: number
  /** The disk itself is copied by an emulator. */
  readonly isLive: boolean
  readonly onProgress: (fraction: number) => void
}

/** Copies what one layer has itself onto what the copy lies on. */
export async function copyLayer(
  layer: LayerCopy,
  work: LayerWork & { readonly copyId: string },
): Promise<void> {
  const { ports, copyId } = work
  const given = new AbortController()
  const signal = AbortSignal.any([work.signal, given.signal])
  const requireStill = () => {
    if (copyNow(copyId, ports.store)?.phase === 'creating') return
    given.abort(
      new KvasirError(
        'wrong-state',
        `The VM of disk ${layer.move.disk} ended before its layers were copied, so the disk stays where it was.`,
      ),
    )
  }
  const onProgress = (fraction: number) => {
    requireStill()
    work.onProgress(fraction)
  }
  requireStill()
  signal.throwIfAborted()
  try {
    await copyOwn(layer, { ...work, signal, onProgress })
  } finally {
    // Whoever gave the move up has removed it, and may have done so before it was there.
    if (!ports.store.volumes.get(layer.id)) await removeVolumeFile(asVolume(layer), ports)
  }
}

async function copyOwn(
  layer: LayerCopy,
  { ports, copyId, isLive, ...work }: LayerWork & { readonly copyId: string },
): Promise<void> {
  const former = ports.store.volumes.get(layer.move.fromId)
  if (!former) throw new KvasirError('volume-not-found', `Layer ${layer.name} is not there any more.`)
  const chain = volumeChain(former, ports)
  const { into } = layer.move
  const capacityBytes = into ? layer.capacityBytes : await makeCopy(layer, ports)
  const top = copyNow(copyId, ports.store)
  // What lies on it will be as large at least. It is said before anything is copied.
  const isDevice = sourceOf(layer, ports).kind === 'device'
  if (isLive && isDevice && top?.liesIn !== undefined)
    requireSameSize(top, { capacityBytes, sizeBytes: top.capacityBytes })
  const fileSizeBytes = 2 * capacityBytes + spareBytes
  const isNew = !into && ((await usablePlace(layer, ports).newIsZero?.()) ?? true)
  await ports.access.fill(sourcesOfCopy(layer, ports), chain, { ...work, fileSizeBytes, isNew })
}

/** Removes what a disk left that moved, with the layers that nobody needs any more. */
export async function removeLeft(ids: readonly string[], context: Context): Promise<void> {
  const { store } = context.ports
  for (const id of ids) {
    const left = store.volumes.get(id)
    if (!left) continue
    const isOver = left.phase === 'deleting' || (left.frozen && holderOf(left, store) === undefined)
    if (!isOver) continue
    keepGround(left, context.ports)
    await removeVolume(left, context)
  }
}
