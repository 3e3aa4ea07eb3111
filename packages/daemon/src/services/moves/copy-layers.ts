/**
 * Copies the layers under a disk that moves with its snapshots: bottom first, each on the copy of what it lies on. Nobody writes to them,
 * so the guest goes on meanwhile on the disk's own volume, which is copied last: by a mirror while the VM runs (move-disk.ts).
 *
 * They go to a pool of files: from another one, or from a LUN or logical volume whose layers lie in files. What is copied is what a layer has itself, so each copy holds as much as its layer.
 */
import { KvasirError } from '@kvasir/contract'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord, VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { layersIn } from '../pools/layers-place.ts'
import { requirePool, usablePool } from '../pools/usable-pool.ts'
import { removeVolume } from '../vms/delete-vm.ts'
import { requireNoWork } from '../volumes/hold-volume.ts'
import { keepGround } from '../volumes/keep-ground.ts'
import { volumeChain } from '../volumes/volume-chain.ts'
import { makeVolumeFile, removeVolumeFile } from '../volumes/volume-files.ts'
import { holderOf } from '../volumes/volume-use.ts'
import type { MoveRequest, PlannedMove } from './begin-move.ts'
import { type LayerCopy, layerCopiesOf, layersUnder } from './layer-rows.ts'
import { type CopyRecord, copyNow } from './move-rows.ts'

/** Beside its contents, for its tables. */
const spareBytes = 2 ** 30

/** The layers that go along with a disk; none of one without snapshots. Refuses what does not go with layers. */
export function planLayers(
  record: VmRecord,
  { disk, volume, pool, format, into }: Omit<PlannedMove, 'layers' | 'keep'>,
  { request, ports }: { readonly request: MoveRequest; readonly ports: Ports },
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
  if (into) throw refuse('in-use', 'a volume that is there takes no layers in')
  if (request.keep) throw refuse('in-use', 'a volume of that name would stay without them')
  if (pool === volume.pool) throw refuse('in-use', 'its layers stay in their pool with their formats')
  if (!hasLayersInFiles(volume.pool, ports) || !isOfFiles(pool, ports))
    throw refuse('in-use', 'layers go only from one pool of files to another')
  if (format !== 'qcow2') throw refuse('in-use', 'what lies on a layer is qcow2')
  if (layers.some((layer) => layer.pool !== volume.pool))
    throw refuse('unsupported', 'one of its layers is in a third pool')
  if (layers.some((layer) => layer.encryption && layer.format === 'raw'))
    throw refuse('unsupported', 'one of its layers is encrypted and raw')
  for (const layer of layers) requireNoWork(layer)
  return layers
}

function snapshotWords(names: readonly string[]): string {
  return names.length === 1 ? `snapshot ${names[0]}` : `snapshots ${names.join(', ')}`
}

/** A pool with snapshots of its own takes none that were made elsewhere; what the disk holds now goes anywhere. */
function wayOut(vm: string, names: readonly string[]): string {
  const commands = names.map((name) => `\`kvasir snapshot delete ${vm} ${name}\``).join(', ')
  return `It goes without its snapshots, so after ${commands}; or what it holds now is copied there: \`kvasir vm export ${vm}\`.`
}

/** Whether layers of a pool's volumes lie beside them. */
function isOfFiles(name: string, ports: Ports): boolean {
  const { nativeSnapshots, formats } = usablePool(name, ports).capabilities
  return !nativeSnapshots && formats.includes('qcow2')
}

/** Those of a LUN or a logical volume do too, but for the volume itself, which is copied to a raw file. */
function hasLayersInFiles(name: string, ports: Ports): boolean {
  return isOfFiles(name, ports) || layersIn(requirePool(name, ports), ports) !== undefined
}

/** Copies the layers under the copy of a disk. Fails as soon as the move was given up. */
export async function copyLayers(
  copy: CopyRecord,
  {
    ports,
    job,
    bytesPerSecond,
  }: { readonly ports: Ports; readonly job: JobHandle; readonly bytesPerSecond: number },
): Promise<void> {
  const layers = layerCopiesOf(copy.id, ports.store)
  for (const [index, layer] of layers.entries()) {
    const onProgress = (fraction: number) =>
      job.progress(`copying layers of disk ${copy.move.disk}`, (index + fraction) / (layers.length + 1))
    await copyLayer(layer, { ports, copyId: copy.id, signal: job.signal, bytesPerSecond, onProgress })
    await ports.failpoint('vm.move.after-layer')
  }
}

interface LayerWork {
  readonly ports: Ports
  readonly signal: AbortSignal
  readonly bytesPerSecond: number
  readonly onProgress: (fraction: number) => void
}

/** Copies what one layer has itself onto what the copy lies on. */
export async function copyLayer(
  layer: LayerCopy,
  work: LayerWork & { readonly copyId: string },
): Promise<void> {
  const { ports, copyId, bytesPerSecond } = work
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
    await copyOwn(layer, { ports, signal, bytesPerSecond, onProgress })
  } finally {
    // Whoever gave the move up has removed it, and may have done so before it was there.
    if (!ports.store.volumes.get(layer.id)) await removeVolumeFile(layer, ports)
  }
}

async function copyOwn(layer: LayerCopy, { ports, ...work }: LayerWork): Promise<void> {
  const former = ports.store.volumes.get(layer.move.fromId)
  if (!former) throw new KvasirError('volume-not-found', `Layer ${layer.name} is not there any more.`)
  const chain = volumeChain(former, ports)
  const made = await makeVolumeFile(layer, ports)
  const fileSizeBytes = 2 * made.capacityBytes + spareBytes
  await ports.access.fill(volumeChain(layer, ports), chain, { ...work, fileSizeBytes, isNew: true })
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
