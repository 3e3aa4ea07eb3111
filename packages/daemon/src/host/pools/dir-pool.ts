/**
 * A pool that is a folder of the host: each volume a file in it, named by the volume's id, or by its own name when it was imported
 * in place.
 *
 * The folder is touched by processes that can be killed, and qemu-img is another one; the daemon itself opens nothing there. Files belong
 * to root with mode 0600; a file is on the disk, its name included, before the call that made it returns. The folder may be written
 * by root alone, so what was found in it a moment ago is what is used.
 *
 * Not here: how files are touched (pool-hands.ts), what qemu-img is told (qemu-img.ts).
 */
import { join } from 'node:path'
import { KvasirError, type PoolType } from '@kvasir/contract'
import { headerName, type PathSource, type VolumeSource } from '../../model/storage/volume-source.ts'
import type { JailedTools } from '../../ports/jailed-tools.ts'
import type {
  AbsorbedSources,
  Adoption,
  CopyWork,
  ForeignKey,
  Ground,
  PoolBackend,
  PoolEntry,
  PoolSpace,
  VolumeKey,
  VolumePlan,
  WordsBefore,
} from '../../ports/pools.ts'
import { inspectLink, leastOver } from './chain-check.ts'
import { inspectChain } from './copy-chain.ts'
import { copyEncrypted } from './encrypted-qcow2.ts'
import { absorbInto, type FolderLayer, layOn, sinkInto } from './folder-layers.ts'
import { refusalOf, spaceError } from './hands-errors.ts'
import { inspectImport } from './inspect-import.ts'
import { noSuchFile, PoolFolder, type PoolFolderOptions } from './pool-folder.ts'
import { GroundError, onGround, type PoolGround } from './pool-ground.ts'
import { HandsError } from './pool-hands.ts'
import { fillQcow2, flatBytes, refuseHuge, resizeFile } from './qcow2-files.ts'
import { copyChain } from './qemu-img.ts'
import { isShared } from './shared-file-systems.ts'
import { fileOf, ours } from './volume-file.ts'

export interface DirPoolOptions extends PoolFolderOptions {
  /** For what reads a volume: an emulator that was taken over may have written anything into it. */
  readonly jailed: JailedTools
  /** `dir` unless told. */
  readonly type?: PoolType
  /** What it is made of, where that is not the folder. */
  readonly place?: string
  /** What the folder stands on, where that has to be laid first. */
  readonly ground?: PoolGround
}

/** Opens the backend of a folder; the folder itself is not touched yet. */
export function createDirPool(options: DirPoolOptions): PoolBackend {
  return new DirPool(options)
}

class DirPool implements PoolBackend {
  readonly type: PoolType
  readonly path: string
  readonly capabilities: PoolBackend['capabilities'] = {
    formats: ['qcow2', 'raw'],
    linkedClones: true,
    independentClones: false,
    nativeSnapshots: false,
    encryption: true,
    shrink: true,
    importInPlace: true,
  }
  readonly #options: DirPoolOptions
  readonly #folder: PoolFolder
  #directIo: boolean | undefined
  #fileSystem: number | undefined
  /** Not after a claim for which there was none. */
  #hasGround = true

  constructor(options: DirPoolOptions) {
    this.#options = options
    this.type = options.type ?? 'dir'
    this.path = options.path
    this.#folder = new PoolFolder(options)
  }

  get #tools() {
    return { folder: this.#folder, jailed: this.#options.jailed }
  }

  get directIo(): boolean {
    return this.#directIo ?? true
  }

  get isLocal(): boolean {
    return this.type === 'dir' && !isShared(this.#fileSystem)
  }

  get place(): string {
    return this.#options.place ?? this.path
  }

  get isGuarded(): boolean {
    return this.#options.mark !== ''
  }

  async claim({ force }: { readonly force: boolean }): Promise<void> {
    const { ground } = this.#options
    try {
      await onGround(ground, () => this.#folder.quick(['claim', force ? 1 : '']))
    } catch (error) {
      this.#hasGround = !(error instanceof GroundError)
      throw refusalOf(this.place, error, ground?.forbidden)
    }
  }

  async release(): Promise<void> {
    if (this.#options.mark === '') return
    const ground = this.#hasGround ? this.#options.ground : undefined
    try {
      await this.#folder.reach(() => onGround(ground, () => this.#folder.quick(['release', 1])))
    } finally {
      await this.rest()
    }
  }

  async rest(): Promise<void> {
    this.close()
    await this.#options.ground?.lift()
  }

  async inspect(): Promise<PoolSpace> {
    this.#folder.tryAgain()
    const look = async () => {
      this.#directIo ??= (await this.#folder.quick(['direct']))[0] === '1'
      return (await this.#folder.quick(['space'])).map(Number)
    }
    const words = await this.#folder.reach(() => onGround(this.#options.ground, look))
    const [capacityBytes = 0, free = 0, availableBytes = 0, fileSystem] = words
    this.#fileSystem = fileSystem
    return { capacityBytes, allocatedBytes: capacityBytes - free, availableBytes }
  }

  async list(): Promise<readonly PoolEntry[]> {
    const words = await this.#folder.reach(() => this.#folder.quick(['list']))
    return Array.from({ length: words.length / 4 }, (_, index) => {
      const [file = '', kind, ...numbers] = words.slice(index * 4)
      const [sizeBytes = 0, names = 1] = numbers.slice(0, 2).map(Number)
      return { file, volumeId: ours.exec(file)?.[1], isVolume: kind === 'file', sizeBytes, names }
    })
  }

  source(volume: VolumeKey): PathSource {
    const guarded = this.isGuarded ? { guarded: true } : {}
    return { path: join(this.path, fileOf(volume)), format: volume.format, ...guarded }
  }

  async createEmpty(volume: VolumeKey, plan: VolumePlan): Promise<void> {
    refuseHuge(volume, plan.capacityBytes)
    await this.#folder.requireRoom(plan.preallocation === 'full' ? plan.capacityBytes : 0)
    await this.#make(volume, async (file, path) => {
      if (volume.format === 'qcow2')
        return await fillQcow2({ ...volume, file, path }, { ...plan, base: undefined }, this.#tools)
      if (plan.preallocation === 'full')
        await this.#folder.words({
          words: ['allocate', file, plan.capacityBytes],
          timeoutMs: this.#folder.deadlines.allocateMs,
        })
      else await this.#folder.quick(['truncate', file, plan.capacityBytes])
    })
  }

  async createOverlay(volume: VolumeKey, base: VolumeSource, capacityBytes: number): Promise<void> {
    const least = await this.#folder.reach(() => leastOver(base))
    refuseHuge(volume, capacityBytes)
    await this.#folder.requireRoom(0)
    const plan = {
      capacityBytes: Math.max(least, capacityBytes),
      base: { path: headerName(base), format: base.format },
    }
    await this.#make(volume, (name, path) => fillQcow2({ ...volume, file: name, path }, plan, this.#tools))
  }

  async createClone(): Promise<void> {
    throw new KvasirError('unsupported', `The pool at ${this.path} has overlays and no other clones.`)
  }

  async createCopy(
    volume: VolumeKey,
    chain: readonly VolumeSource[],
    { compress = false, onProgress, signal }: CopyWork,
  ): Promise<void> {
    signal.throwIfAborted()
    const { jailed } = this.#options
    const checked = await this.#folder.reach(() => inspectChain(chain, { jailed, signal }))
    const spareBytes = await this.#folder.requireRoom(checked.allocatedBytes)
    const fileSizeBytes =
      volume.format === 'raw' ? checked.capacityBytes : Math.min(flatBytes(checked.capacityBytes), spareBytes)
    const work = { jailed, onProgress, signal, fileSizeBytes, format: volume.format, compress }
    const { encryption } = volume
    await this.#make(volume, (_, path) =>
      this.#folder.reach(() =>
        encryption
          ? copyEncrypted({ path, ...encryption }, chain, { ...work, capacityBytes: checked.capacityBytes })
          : copyChain(path, chain, work),
      ),
    )
  }

  async absorb(volume: VolumeKey, chain: AbsorbedSources, work: CopyWork): Promise<void> {
    await absorbInto(this.#layer(volume), chain, { ...this.#tools, ...work })
  }

  async sink(volume: VolumeKey, { into }: Ground, work: CopyWork): Promise<void> {
    await sinkInto(this.#layer(volume), into, { ...this.#tools, ...work })
  }

  async nameBase(volume: VolumeKey, base: VolumeSource): Promise<void> {
    await layOn(this.#layer(volume), base, this.#tools)
  }

  async resize(volume: VolumeKey, capacityBytes: number): Promise<void> {
    refuseHuge(volume, capacityBytes)
    const [file, path] = [fileOf(volume), join(this.path, fileOf(volume))]
    if (volume.format === 'raw')
      await this.#folder
        .reach(() => this.#folder.quick(['truncate', file, capacityBytes]))
        .catch((error: unknown) => {
          throw spaceError(path, error)
        })
    else await resizeFile({ ...volume, path }, capacityBytes, this.#tools)
    await this.#folder.sync(file)
  }

  async capacityBytes(volume: VolumeKey): Promise<number> {
    return (await this.#folder.reach(() => inspectLink(this.source(volume)))).capacityBytes
  }

  async peek(file: string, lengthBytes: number): Promise<Uint8Array> {
    return await this.#folder.read(file, lengthBytes)
  }

  async adopt(volume: ForeignKey, note: (before: WordsBefore) => void = () => {}): Promise<Adoption> {
    const capacityBytes = await this.#folder.reach(() => inspectImport(this.source(volume), volume))
    await this.#folder.take(volume.file, note)
    return { capacityBytes }
  }

  async giveBack(file: string, before: WordsBefore): Promise<void> {
    await this.#folder.giveBack(file, before)
  }

  async remove(volume: VolumeKey): Promise<void> {
    await this.#folder.reach(() =>
      this.#folder.words({ words: ['remove', fileOf(volume)], timeoutMs: this.#folder.deadlines.syncMs }),
    )
  }

  async allocatedBytes(volume: VolumeKey): Promise<number | undefined> {
    try {
      const [, , blocks] = await this.#folder.reach(() => this.#folder.quick(['stat', fileOf(volume)]))
      return Number(blocks) * 512
    } catch (error) {
      if (error instanceof HandsError && error.errno === noSuchFile) return undefined
      throw error
    }
  }

  async flush(volume: VolumeKey): Promise<void> {
    if (this.isLocal) await this.#folder.sync(fileOf(volume))
  }

  async stamp(volume: VolumeKey): Promise<string> {
    return (await this.#folder.reach(() => this.#folder.quick(['written', fileOf(volume)]))).join('.')
  }

  close(): void {
    this.#folder.close()
  }

  #layer(volume: VolumeKey): FolderLayer {
    const encrypted = volume.encryption === undefined ? {} : { encryption: volume.encryption }
    return { file: fileOf(volume), source: { ...this.source(volume), ...encrypted } }
  }

  /** Makes a file by `fill`; when that does not succeed there is no file. */
  async #make(volume: VolumeKey, fill: (file: string, path: string) => Promise<void>): Promise<void> {
    const file = fileOf(volume)
    const path = join(this.path, file)
    try {
      await this.#folder.reach(() => this.#folder.quick(['create', file]))
    } catch (error) {
      throw spaceError(path, error)
    }
    try {
      await fill(file, path)
      await this.#folder.sync(file)
    } catch (error) {
      await this.remove(volume).catch(() => {}) // What made it fail says more; recovery removes it by its row.
      throw spaceError(path, error)
    }
  }
}
