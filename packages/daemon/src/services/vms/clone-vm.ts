/**
 * Clones a VM that does not run.
 *
 * A full clone copies each disk. A linked clone makes the source's volume a frozen base, which nobody writes to any more, and puts an
 * overlay on it for the clone and one for the source, which keeps the volume's name: the source's spec does not change.
 */
import { type DiskSpec, isCdrom, KvasirError } from '@kvasir/contract'
import { freshMac } from '../../model/network/mac-holders.ts'
import { planHardware } from '../../model/pci/allocate.ts'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { VmRecord, VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { giveAddresses, takenMacs } from '../networks/own-nics.ts'
import { usablePool } from '../pools/usable-pool.ts'
import { requireSettled } from '../snapshots/find-snapshot.ts'
import { exchangeNames } from '../snapshots/switch-layers.ts'
import { volumeChain } from '../volumes/volume-chain.ts'
import { asMade, makeLinkedClone, makeVolumeFile } from '../volumes/volume-files.ts'
import { formatIn } from '../volumes/volume-format.ts'
import { volumeWords } from '../volumes/volume-words.ts'
import { hardwareHost, requireFreeName } from './create-vm.ts'
import { freeVolumeName } from './make-volumes.ts'
import { undoCreation } from './undo-creation.ts'

export interface CloneRequest {
  readonly name: string
  /** Each disk as its pool can, where it is not said. */
  readonly mode: 'linked' | 'full' | undefined
  /** Succeeds in the transaction in which the clone becomes whole. */
  readonly job: JobHandle
}

/** What becomes of one disk of the source. */
interface DiskClone {
  /** The disk's name, on the source and on the clone. */
  readonly disk: string
  readonly source: VolumeRecord
  /** The clone's volume. */
  readonly copy: VolumeRecord
  /** The volume that the source goes on with, when its own is frozen. */
  readonly successor: VolumeRecord | undefined
}

/** Clones a VM; answers the driver of the clone. */
export async function cloneVm(driver: Driver, context: Context, request: CloneRequest): Promise<Driver> {
  return await driver.take('clone', (seat) => cloneFrom(seat, context, request), {
    jobId: request.job.id,
  })
}

async function cloneFrom(seat: Seat, context: Context, request: CloneRequest): Promise<Driver> {
  const { ports } = context
  requireFreeName(request.name, context)
  requireSettled(seat.record, ports)
  const id = ports.clock.uuid()
  const disks = planDisks(seat.record, { id, name: request.name, mode: request.mode }, context)
  await ports.failpoint('vm.clone.before-row')
  const record = await insertClone(seat.record, { id, name: request.name, disks }, context)
  await using undo = new AsyncDisposableStack()
  undo.defer(() => undoCreation(id, ports))
  await ports.failpoint('vm.clone.after-row')
  if (seat.record.nvram) await ports.files.copyNvram(seat.record.nvram.id, id)

  const made: DiskClone[] = []
  for (const [index, disk] of disks.entries()) {
    const signal = AbortSignal.any([seat.signal, request.job.signal])
    signal.throwIfAborted()
    const copy = await makeFiles(disk, context, {
      signal,
      onProgress: (fraction) =>
        request.job.progress(`copying ${disk.source.name}`, (index + fraction) / disks.length),
    })
    made.push({ ...disk, copy })
    await ports.failpoint('vm.clone.after-volume-file')
  }

  await ports.failpoint('vm.clone.before-ready')
  const ready: VmRecord = { ...record, phase: 'ready' }
  request.job.conclude(record.name, () => writeReady(ready, made, context))
  undo.move()
  const driver = context.drivers.add(ready)
  await ports.failpoint('vm.clone.after-ready')
  return driver
}

function planDisks(
  source: VmRecord,
  clone: { readonly id: string; readonly name: string; readonly mode: CloneRequest['mode'] },
  context: Context,
): readonly DiskClone[] {
  const { store, clock } = context.ports
  const planned = new Set<string>()
  const nameFor = (pool: string, wish: string) => {
    const name = freeVolumeName({ pool, name: wish }, context.ports, planned)
    planned.add(volumeWords({ pool, name }))
    return name
  }
  return source.spec.disks.filter(isOwn).map((disk) => {
    if (disk.shareable)
      throw new KvasirError(
        'unsupported',
        `Disk ${disk.name} of VM ${source.name} is shareable, and a clone would have a disk of its own, so the VM is not cloned.`,
        { details: { disk: disk.name } },
      )
    const volume = disk.volume === undefined ? undefined : store.volumes.find(disk.pool, disk.volume)
    if (!volume)
      throw new KvasirError(
        'volume-not-found',
        `Disk ${disk.name} of VM ${source.name} has no volume, so it cannot be cloned.`,
      )
    const { linkedClones, independentClones } = usablePool(volume.pool, context.ports).capabilities
    const linked = clone.mode === undefined ? linkedClones : clone.mode === 'linked'
    if (linked && !linkedClones)
      throw new KvasirError(
        'unsupported',
        `Disk ${disk.name} of VM ${source.name} lies in pool ${volume.pool}, which has no linked clones; take a full one.`,
      )
    const { file: _, liesIn: __, ...plain } = volume
    const fresh = {
      ...plain,
      format: formatIn(
        volume.pool,
        linked || disk.format !== volume.format ? {} : { liked: volume.format },
        context.ports,
      ),
      phase: 'creating' as const,
      frozen: false,
      createdAt: clock.now(),
      madeForVm: clone.id,
    }
    const lineage = {
      baseId: linked ? volume.id : undefined,
      imageId: undefined,
      originId: undefined,
      clonedFromId: undefined,
    }
    const copy = {
      ...fresh,
      ...lineage,
      id: clock.uuid(),
      name: nameFor(volume.pool, `${clone.name}-${disk.name}`),
    }
    if (!linked || independentClones) return { disk: disk.name, source: volume, copy, successor: undefined }
    // Both names are provisional: they are exchanged in the transaction that makes the clone ready.
    const successor = {
      ...fresh,
      ...lineage,
      id: clock.uuid(),
      name: nameFor(volume.pool, `${volume.name}.base`),
    }
    return { disk: disk.name, source: volume, copy, successor }
  })
}

/** What a drive holds is not copied: the clone's drive holds it too. */
function isOwn(disk: DiskSpec): boolean {
  return !isCdrom(disk)
}

async function insertClone(
  source: VmRecord,
  clone: { readonly id: string; readonly name: string; readonly disks: readonly DiskClone[] },
  context: Context,
): Promise<VmRecord> {
  const { store, clock, bootId } = context.ports
  const spec: VmRecord['spec'] = {
    ...source.spec,
    disks: source.spec.disks.map((disk) => {
      const copy = clone.disks.find((one) => one.disk === disk.name)?.copy
      if (!copy) return disk
      return { ...disk, volume: copy.name, ...(disk.format === undefined ? {} : { format: copy.format }) }
    }),
    nics: await nicsOfClone(source, clone, context.ports),
    ...(source.spec.cloudInit ? { cloudInit: { ...source.spec.cloudInit, hostname: clone.name } } : {}),
    autostart: { ...source.spec.autostart, enabled: false },
  }
  const host = await hardwareHost(clone.id, context)
  const hardware = planHardware(spec, { ...source.hardware, vsockCid: host.vsockCid }, host)
  const now = clock.now()
  return store.transaction(() => {
    const record: VmRecord = {
      ...source,
      id: clone.id,
      name: clone.name,
      revision: 1,
      createdAt: now,
      phase: 'creating',
      intent: 'none',
      uid: store.uids.allocate(clone.id, bootId),
      spec,
      hardware,
      life: { state: 'shutoff', reason: `it was cloned from ${source.name}`, since: now },
      run: undefined,
      saved: undefined,
      placement: undefined,
      placementLost: undefined,
      nvram: source.nvram && { ...source.nvram, id: clone.id },
    }
    store.vms.insert(record)
    for (const disk of clone.disks) {
      store.volumes.insert(disk.copy)
      if (disk.successor) store.volumes.insert(disk.successor)
    }
    return record
  })
}

/** Ports of the host and addresses are the source's. */
async function nicsOfClone(
  { spec }: VmRecord,
  clone: { readonly id: string; readonly name: string },
  ports: Context['ports'],
): Promise<VmRecord['spec']['nics']> {
  const taken = takenMacs(clone.id, ports)
  const nics = spec.nics.map(({ address: _address, ipv6: _ipv6, ...nic }) => ({
    ...nic,
    mac: freshMac(clone.id, nic.name, taken),
    forwards: [],
  }))
  return await giveAddresses(clone, nics, ports)
}

async function makeFiles(
  disk: DiskClone,
  context: Context,
  work: { readonly signal: AbortSignal; readonly onProgress: (fraction: number) => void },
): Promise<VolumeRecord> {
  const { ports } = context
  const { copy, successor, source } = disk
  if (copy.baseId === undefined) {
    await usablePool(copy.pool, ports).createCopy(copy, volumeChain(source, ports), work)
    return await asMade(copy, ports)
  }
  const made = await makeLinkedClone(copy, ports)
  if (successor) await makeVolumeFile(successor, ports)
  return made
}

/** In one transaction: the clone exists, and the source's volumes are frozen bases under the successors that took their names. */
function writeReady(ready: VmRecord, disks: readonly DiskClone[], context: Context): void {
  const { store } = context.ports
  for (const { source, copy, successor } of disks) {
    store.volumes.update({ ...copy, phase: 'ready' })
    context.emit('volume.created', volumeWords(copy), { id: copy.id, vm: ready.name })
    if (!successor) continue
    exchangeNames(store, source, successor)
  }
  store.vms.update(ready)
  context.emit('vm.created', ready.name, { uuid: ready.id })
}
