/** The pools of a simulated machine: what the backends of the real host promise, in memory. */
import { KvasirError } from '@kvasir/contract'
import type { VolumeSource } from '../model/storage/volume-source.ts'
import type { AbsorbedSources, CopyWork, PoolBackend, PoolMoments, Pools, VolumeKey } from '../ports/pools.ts'
import type { PoolRecord } from '../ports/store.ts'
import type { SimulatedMachine } from './machine.ts'
import { adoptForeign, giveBackForeign } from './simulated-imports.ts'

const copySteps = 4
const newVolumeBytes = 200 * 1024
const defaultFolder = '/simulated/volumes'
const gib = 2 ** 30
/** Logical volumes come in these. */
const extentBytes = 4 * 2 ** 20

/** The pools of the machine. */
export function createSimulatedPools(machine: SimulatedMachine): Pools {
  const backends = new Map<string, SimulatedPool>()
  const listeners: ((poolId: string, reason: string) => void)[] = []
  return {
    of({ id, source }) {
      const known = backends.get(id)
      if (known) return known
      const backend = new SimulatedPool({ id, source }, machine, (reason) => {
        for (const listener of listeners) listener(id, reason)
      })
      backends.set(id, backend)
      return backend
    },
    forget: (poolId) => void backends.delete(poolId),
    close: () => {},
    onUnreachable: (listener) => void listeners.push(listener),
  }
}

class SimulatedPool implements PoolBackend {
  readonly type: PoolBackend['type']
  readonly path: string
  readonly place: string
  readonly capabilities: PoolBackend['capabilities']
  readonly moments?: PoolMoments
  readonly flatten?: NonNullable<PoolBackend['flatten']>
  readonly directIo = true
  readonly isLocal: boolean
  readonly flush?: () => Promise<void>
  readonly isGuarded = false
  readonly isSizedByOthers?: true
  readonly #pool: Pick<PoolRecord, 'id' | 'source'>
  readonly #machine: SimulatedMachine
  readonly #onUnreachable: (reason: string) => void
  #isUnreachable = false

  constructor(
    pool: Pick<PoolRecord, 'id' | 'source'>,
    machine: SimulatedMachine,
    onUnreachable: (reason: string) => void,
  ) {
    this.#pool = pool
    this.#machine = machine
    this.#onUnreachable = onUnreachable
    const { source } = pool
    const isFolder = source.type === 'dir' || source.type === 'nfs'
    this.type = source.type
    this.isLocal = source.type === 'dir'
    if (this.isLocal) this.flush = () => machine.clock.sleep(machine.flushesMs.shift() ?? 0)
    this.path = simulatedPath(source)
    this.place = source.type === 'lvm-thin' ? `${source.vg}/${source.thinPool}` : this.path
    this.capabilities = {
      formats: isFolder ? ['qcow2', 'raw'] : ['raw'],
      linkedClones: isFolder || source.type === 'lvm-thin' || source.type === 'rbd',
      independentClones: source.type === 'lvm-thin' || source.type === 'rbd',
      nativeSnapshots: source.type === 'lvm-thin' || source.type === 'rbd',
      encryption: isFolder,
      shrink: true,
      importInPlace: true,
    }
    if (source.type === 'iscsi') this.isSizedByOthers = true
    if (source.type !== 'rbd') return
    this.moments = this.#keeping(machine.keptForCopies)
    this.flatten = async ({ id }, { onProgress, signal }) => {
      this.#reach()
      if (!machine.nativeClones.has(id)) return false
      for (let step = 1; step <= copySteps; step++) {
        await machine.clock.sleep(machine.stepMs, signal)
        onProgress(step / copySteps)
      }
      return machine.nativeClones.delete(id)
    }
  }

  #keeping(kept: Set<string>): PoolMoments {
    return {
      open: async (copies) => {
        this.#reach()
        return {
          take: async () => {
            this.#reach()
            for (const { copy } of copies) kept.add(copy.id)
          },
          [Symbol.asyncDispose]: async () => {},
        }
      },
      isKept: async ({ copy }) => {
        this.#reach()
        return kept.has(copy.id)
      },
      letGo: async ({ copy }) => void kept.delete(copy.id),
    }
  }

  async claim({ force }: { readonly force: boolean }): Promise<void> {
    const { marks } = this.#machine
    const mark = marks.get(this.path)
    if (mark !== undefined && mark !== this.#pool.id && !force)
      throw new KvasirError('pool-refused', `The folder ${this.path} is marked as the pool ${mark} already.`)
    marks.set(this.path, this.#pool.id)
  }

  async release(): Promise<void> {
    if (this.#machine.marks.get(this.path) === this.#pool.id) this.#machine.marks.delete(this.path)
  }

  async inspect() {
    this.#isUnreachable = false
    this.#reach()
    const availableBytes = this.#machine.freeBytes
    return { capacityBytes: 1000 * gib, allocatedBytes: 1000 * gib - availableBytes, availableBytes }
  }

  async list() {
    this.#reach()
    return [...this.#machine.volumes]
      .filter(([, { folder }]) => (folder ?? defaultFolder) === this.path)
      .map(([id, { allocatedBytes, file, names }]) => ({
        file: file ?? `${id}.qcow2`,
        volumeId: file === undefined ? id : undefined,
        isVolume: true,
        sizeBytes: allocatedBytes,
        ...(names === undefined ? {} : { names }),
      }))
  }

  source({ id, format, file }: VolumeKey): VolumeSource {
    if (!/^[A-Za-z0-9][A-Za-z0-9-]{0,127}$/.test(id))
      throw new TypeError(`${JSON.stringify(id)} is not an id.`)
    const path = `${this.path}/${file ?? `${id}.${format}`}`
    return this.type === 'dir' ? { path, format } : { kind: 'device', path, format }
  }

  async createEmpty(volume: VolumeKey, { capacityBytes }: { readonly capacityBytes: number }) {
    this.#add(volume, capacityBytes, undefined)
  }

  async createOverlay(volume: VolumeKey, base: VolumeSource, capacityBytes: number) {
    this.#add(volume, Math.max(this.#capacityOf(base), capacityBytes), base)
  }

  async createClone(volume: VolumeKey, origin: VolumeKey) {
    if (!this.capabilities.independentClones)
      throw new KvasirError('unsupported', `The pool at ${this.path} has overlays and no other clones.`)
    if (this.#machine.keptForCopies.has(volume.id)) this.#machine.volumes.delete(volume.id)
    this.#add(volume, this.#capacityOf(this.source(origin)), undefined)
    this.#machine.keptForCopies.delete(volume.id)
    this.#machine.nativeClones.add(volume.id)
  }

  async createCopy(volume: VolumeKey, [top]: readonly VolumeSource[], { onProgress, signal }: CopyWork) {
    if (!top) throw new TypeError('An empty chain has nothing to copy.')
    const capacity = this.#capacityOf(top)
    for (let step = 1; step <= copySteps; step++) {
      await this.#machine.clock.sleep(this.#machine.stepMs, signal)
      signal.throwIfAborted()
      onProgress(step / copySteps)
      signal.throwIfAborted()
    }
    this.#add(volume, capacity, undefined)
  }

  async absorb({ id }: VolumeKey, { backing, absorbed }: AbsorbedSources, { onProgress, signal }: CopyWork) {
    this.#reach()
    for (let step = 1; step <= copySteps; step++) {
      await this.#machine.clock.sleep(this.#machine.stepMs, signal)
      onProgress(step / copySteps)
    }
    const volume = this.#machine.volumes.get(id)
    const base = backing[absorbed]
    if (volume)
      this.#machine.volumes.set(id, {
        ...volume,
        basePath: base && base.kind !== 'protocol' ? base.path : undefined,
      })
  }

  async sink(_: VolumeKey, __: { readonly into: VolumeSource }, { onProgress, signal }: CopyWork) {
    this.#reach()
    for (let step = 1; step <= copySteps; step++) {
      await this.#machine.clock.sleep(this.#machine.stepMs, signal)
      onProgress(step / copySteps)
    }
  }

  async resize({ id }: VolumeKey, capacityBytes: number) {
    this.#reach()
    const volume = this.#machine.volumes.get(id)
    if (!volume) throw new KvasirError('file-not-found', `There is no file of volume ${id}.`)
    this.#machine.volumes.set(id, { ...volume, capacityBytes: this.#inExtents(capacityBytes) })
  }

  async capacityBytes(volume: VolumeKey) {
    this.#reach()
    return this.#capacityOf(this.source(volume))
  }

  async adopt(...taken: Parameters<PoolBackend['adopt']>) {
    this.#reach()
    return adoptForeign(this.#machine, ...taken)
  }

  async giveBack(...taken: Parameters<NonNullable<PoolBackend['giveBack']>>) {
    this.#reach()
    giveBackForeign(this.#machine, ...taken)
  }

  async remove({ id }: VolumeKey) {
    this.#reach()
    this.#machine.volumes.delete(id)
  }

  async allocatedBytes({ id }: VolumeKey) {
    this.#reach()
    return this.#machine.volumes.get(id)?.allocatedBytes
  }

  async stamp({ id }: VolumeKey) {
    return String(this.#machine.volumes.get(id)?.writtenAt ?? 0)
  }

  close() {}

  #reach(): void {
    const isHung = this.#machine.hungFolders.has(this.path)
    if (!isHung && !this.#isUnreachable) return
    const reason = 'it did not answer within 5 s'
    const wasReachable = !this.#isUnreachable
    this.#isUnreachable = true
    if (wasReachable) this.#onUnreachable(reason)
    throw new KvasirError('pool-unreachable', `The pool at ${this.path} cannot be used: ${reason}.`, {
      details: { reason },
    })
  }

  #add({ id }: VolumeKey, capacityBytes: number, base: VolumeSource | undefined): void {
    this.#reach()
    const { volumes, freeBytes } = this.#machine
    if (volumes.has(id))
      throw new KvasirError('host-failed', `The file of volume ${id} exists, so it was not made.`)
    if (freeBytes < newVolumeBytes)
      throw new KvasirError('not-enough-space', 'The pool is full, so the volume was not made.')
    const basePath = base && base.kind !== 'protocol' ? base.path : undefined
    const folder = this.path === defaultFolder ? undefined : this.path
    const rounded = this.#inExtents(capacityBytes)
    volumes.set(id, { capacityBytes: rounded, allocatedBytes: newVolumeBytes, basePath, folder })
  }

  #inExtents(bytes: number): number {
    const extent = this.type === 'dir' ? 1 : extentBytes
    return Math.ceil(bytes / extent) * extent
  }

  #capacityOf(source: VolumeSource): number {
    const path = source.kind === 'protocol' ? '' : source.path
    const { volumes, images } = this.#machine
    const isAt = ([id, { file }]: [string, { readonly file?: string | undefined }]) =>
      path.includes(id) || (file !== undefined && path.endsWith(`/${file}`))
    const volume = [...volumes].find(isAt)?.[1]
    const image = [...images.values()].find(({ id }) => path.includes(id))
    const capacity = volume?.capacityBytes ?? image?.disk?.virtualSizeBytes
    if (capacity !== undefined) return capacity
    throw new KvasirError('file-not-found', `There is no file ${path}, so nothing can be based on it.`)
  }
}

/** Where a pool lies in the simulated machine, in which everything is a folder. */
function simulatedPath(source: PoolRecord['source']): string {
  switch (source.type) {
    case 'dir':
      return source.path ?? defaultFolder
    case 'lvm':
    case 'lvm-thin':
      return `/dev/${source.vg}`
    case 'nfs':
      return `/simulated/${source.server}${source.export}`
    case 'iscsi':
      return `/simulated/${source.server}/${source.target}`
    case 'rbd':
      return `/simulated/${source.cephPool}`
  }
}
