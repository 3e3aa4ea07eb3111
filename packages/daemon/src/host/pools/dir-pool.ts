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
import { formatBytes, KvasirError } from '@kvasir/contract'
import { type PathSource, pathSource, type VolumeSource } from '../../model/storage/volume-source.ts'
import type { JailedTools } from '../../ports/jailed-tools.ts'
import type { CopyWork, PoolBackend, PoolEntry, PoolSpace, VolumeKey, VolumePlan } from '../../ports/pools.ts'
import { absorbLayers, nameBase } from './absorb-layers.ts'
import { checkedChain, inspectLink } from './chain-check.ts'
import { refusalOf, spaceError, troubleOf } from './hands-errors.ts'
import { HandsError, type Order, PoolHands } from './pool-hands.ts'
import { copyChain, makeQcow2 } from './qemu-img.ts'

export interface DirPoolOptions {
  readonly path: string
  /** What the folder must say that it is; empty for the daemon's own, which lies beside the store and needs no mark. */
  readonly mark: string
  /** Space that no volume may take. */
  readonly reservedBytes: number
  /** For what reads a volume: an emulator that was taken over may have written anything into it. */
  readonly jailed: JailedTools
  readonly onUnreachable: (reason: string) => void
  readonly deadlines?: Partial<Deadlines>
}

interface Deadlines {
  /** What any file system that is well does at once. */
  readonly quickMs: number
  /** What may have to wait for a disk that is busy. */
  readonly syncMs: number
  /** Taking all the space of a volume. */
  readonly allocateMs: number
}

const defaultDeadlines: Deadlines = { quickMs: 5_000, syncMs: 60_000, allocateMs: 3_600_000 }

/** The largest qcow2 file with clusters of 64 KiB: a first-level table of 32 MiB. */
const maxCapacityBytes = 2 ** 51

/** A volume's file as we name it. */
const ours = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(?:qcow2|raw)$/

const noSuchFile = 2

/** Opens the backend of a folder; the folder itself is not touched yet. */
export function createDirPool(options: DirPoolOptions): PoolBackend {
  return new DirPool(options)
}

class DirPool implements PoolBackend {
  readonly type = 'dir'
  readonly path: string
  readonly capabilities: PoolBackend['capabilities'] = {
    formats: ['qcow2', 'raw'],
    linkedClones: true,
    nativeSnapshots: false,
    shrink: true,
    importInPlace: true,
  }
  readonly #options: DirPoolOptions
  readonly #deadlines: Deadlines
  readonly #hands: PoolHands
  #directIo: boolean | undefined
  #trouble: string | undefined

  constructor(options: DirPoolOptions) {
    this.#options = options
    this.path = options.path
    this.#deadlines = { ...defaultDeadlines, ...options.deadlines }
    this.#hands = new PoolHands({ path: options.path, mark: options.mark })
  }

  get directIo(): boolean {
    return this.#directIo ?? true
  }

  async claim({ force }: { readonly force: boolean }): Promise<void> {
    try {
      await this.#quick(['claim', force ? 1 : ''])
    } catch (error) {
      throw refusalOf(this.path, error)
    }
  }

  async release(): Promise<void> {
    if (this.#options.mark === '') return
    await this.#reach(() => this.#quick(['release', 1]))
    this.close()
  }

  async inspect(): Promise<PoolSpace> {
    this.#trouble = undefined
    const [capacityBytes, free, availableBytes] = await this.#reach(async () => {
      this.#directIo ??= (await this.#quick(['direct']))[0] === '1'
      return (await this.#quick(['space'])).map(Number)
    })
    return {
      capacityBytes: capacityBytes ?? 0,
      allocatedBytes: (capacityBytes ?? 0) - (free ?? 0),
      availableBytes: availableBytes ?? 0,
    }
  }

  async list(): Promise<readonly PoolEntry[]> {
    const words = await this.#reach(() => this.#quick(['list']))
    return Array.from({ length: words.length / 4 }, (_, index) => {
      const [file = '', kind, size] = words.slice(index * 4)
      return { file, volumeId: ours.exec(file)?.[1], isVolume: kind === 'file', sizeBytes: Number(size) }
    })
  }

  source(volume: VolumeKey): PathSource {
    const source = { path: join(this.path, fileOf(volume)), format: volume.format }
    return this.#options.mark === '' ? source : { ...source, guarded: true }
  }

  async createEmpty(volume: VolumeKey, plan: VolumePlan): Promise<void> {
    this.#refuseHuge(volume, plan.capacityBytes)
    await this.#requireRoom(plan.preallocation === 'full' ? plan.capacityBytes : 0)
    await this.#make(volume, async (file, path) => {
      if (volume.format === 'qcow2') {
        await makeQcow2(path, { ...plan, base: undefined })
        return
      }
      if (plan.preallocation === 'full')
        await this.#words({
          words: ['allocate', file, plan.capacityBytes],
          timeoutMs: this.#deadlines.allocateMs,
        })
      else await this.#quick(['truncate', file, plan.capacityBytes])
    })
  }

  async createOverlay(volume: VolumeKey, base: VolumeSource, capacityBytes: number): Promise<void> {
    const file = pathSource(base)
    const { capacityBytes: least } = await this.#reach(() => inspectLink(file))
    this.#refuseHuge(volume, capacityBytes)
    await this.#requireRoom(0)
    await this.#make(volume, (_, path) =>
      makeQcow2(path, { capacityBytes: Math.max(least, capacityBytes), base: file }),
    )
  }

  async createCopy(
    volume: VolumeKey,
    chain: readonly VolumeSource[],
    { onProgress, signal }: CopyWork,
  ): Promise<void> {
    signal.throwIfAborted()
    const [top, ...backing] = chain.map(pathSource)
    if (top === undefined) throw new TypeError('An empty chain has nothing to copy.')
    const checked = await this.#reach(() => checkedChain(top, { backing, roots: [] }))
    const spareBytes = await this.#requireRoom(checked.allocatedBytes)
    const { jailed } = this.#options
    const fileSizeBytes =
      volume.format === 'raw' ? checked.capacityBytes : Math.min(flatBytes(checked.capacityBytes), spareBytes)
    const work = { jailed, onProgress, signal, fileSizeBytes, format: volume.format }
    await this.#make(volume, (_, path) => this.#reach(() => copyChain(path, checked.chain, work)))
  }

  async absorb(
    volume: VolumeKey,
    { backing, absorbed }: { readonly backing: readonly VolumeSource[]; readonly absorbed: number },
    { onProgress, signal }: CopyWork,
  ): Promise<void> {
    const top = this.source(volume)
    const below = backing.map(pathSource)
    const work = { jailed: this.#options.jailed, signal, fileSizeBytes: await this.#requireRoom(0) }
    await nameBase(top.path, below[0], work) // A merge that was broken off may have named another.
    const { chain, capacityBytes } = await this.#reach(() => checkedChain(top, { backing: below, roots: [] }))
    const fileSizeBytes = Math.min(flatBytes(capacityBytes), work.fileSizeBytes)
    await absorbLayers(chain, absorbed, { ...work, onProgress, fileSizeBytes })
    await nameBase(top.path, below[absorbed], work)
    await this.#sync(fileOf(volume))
  }

  async remove(volume: VolumeKey): Promise<void> {
    await this.#reach(() =>
      this.#words({ words: ['remove', fileOf(volume)], timeoutMs: this.#deadlines.syncMs }),
    )
  }

  async allocatedBytes(volume: VolumeKey): Promise<number | undefined> {
    try {
      const [, , blocks] = await this.#reach(() => this.#quick(['stat', fileOf(volume)]))
      return Number(blocks) * 512
    } catch (error) {
      if (error instanceof HandsError && error.errno === noSuchFile) return undefined
      throw error
    }
  }

  close(): void {
    this.#hands.close()
  }

  /** Makes a file by `fill`; when that does not succeed there is no file. */
  async #make(volume: VolumeKey, fill: (file: string, path: string) => Promise<void>): Promise<void> {
    const file = fileOf(volume)
    const path = join(this.path, file)
    try {
      await this.#reach(() => this.#quick(['create', file]))
    } catch (error) {
      throw spaceError(path, error)
    }
    try {
      await fill(file, path)
      await this.#sync(file)
    } catch (error) {
      await this.remove(volume).catch(() => {}) // What made it fail says more; recovery removes it by its row.
      throw spaceError(path, error)
    }
  }

  async #sync(file: string): Promise<void> {
    await this.#reach(() => this.#words({ words: ['sync', file], timeoutMs: this.#deadlines.syncMs }))
  }

  #quick(words: Order['words']): Promise<readonly string[]> {
    return this.#words({ words, timeoutMs: this.#deadlines.quickMs })
  }

  #words(order: Order): Promise<readonly string[]> {
    return this.#hands.words(order)
  }

  /** Does what needs the folder. What says that the folder is gone makes the pool unreachable, and later calls fail at once. */
  async #reach<T>(work: () => Promise<T>): Promise<T> {
    if (this.#trouble !== undefined) throw this.#unreachable(this.#trouble)
    try {
      return await work()
    } catch (error) {
      const reason = troubleOf(error)
      if (reason === undefined) throw error
      if (this.#trouble === undefined) {
        this.#trouble = reason
        this.#hands.close()
        this.#options.onUnreachable(reason)
      }
      throw this.#unreachable(reason, error)
    }
  }

  #unreachable(reason: string, cause?: unknown): KvasirError {
    return new KvasirError('pool-unreachable', `The pool at ${this.path} cannot be used: ${reason}.`, {
      details: { path: this.path, reason },
      cause,
    })
  }

  /** Refuses what does not fit beside the reserve; answers what may be taken. */
  async #requireRoom(bytes: number): Promise<number> {
    const [, , available] = await this.#reach(() => this.#quick(['space']))
    const availableBytes = Number(available)
    const { reservedBytes } = this.#options
    if (availableBytes >= bytes + reservedBytes) return availableBytes - reservedBytes
    throw new KvasirError(
      'not-enough-space',
      `The disk of ${this.path} has ${formatBytes(availableBytes)} free, of which ${formatBytes(reservedBytes)} are kept back, so ` +
        `there is no room for ${formatBytes(bytes)} more.`,
      { details: { freeBytes: availableBytes, neededBytes: bytes, reservedBytes } },
    )
  }

  #refuseHuge(volume: VolumeKey, capacityBytes: number): void {
    if (volume.format === 'raw' || capacityBytes <= maxCapacityBytes) return
    throw new KvasirError(
      'unsupported',
      `A volume of ${formatBytes(capacityBytes)} is larger than a qcow2 file can be, so it was not made.`,
    )
  }
}

/** What a qcow2 file of a capacity takes at most: its data and a hundredth for its tables. */
function flatBytes(capacityBytes: number): number {
  return Math.ceil(capacityBytes * 1.01) + 16 * 1024 ** 2
}

function fileOf({ id, format, file }: VolumeKey): string {
  return file ?? `${checkedId(id)}.${format}`
}

/** Ids become file names, so they are what the daemon makes and nothing else. */
function checkedId(id: string): string {
  if (!/^[0-9A-Za-z][0-9A-Za-z-]{0,63}$/.test(id)) throw new TypeError(`${JSON.stringify(id)} is not an id.`)
  return id
}
