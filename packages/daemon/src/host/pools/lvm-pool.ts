/**
 * A pool of LVM: a volume group whose logical volumes are volumes, or a thin pool in one. Both are raw; thin ones take space as they are
 * written, and have clones of their own.
 *
 * What is ours bears a tag with the pool's id; nothing else is changed or removed. The host opens volumes up by inspecting the pool,
 * and closes them when it is stopped.
 *
 * Not here: how LVM is called (lvm-tools.ts), how it becomes a pool (lvm-claim.ts), what is judged (model/storage).
 */
import { KvasirError } from '@kvasir/contract'
import {
  contentsOf,
  inactiveOf,
  isForMoment,
  type LvmPlace,
  markOf,
  lvNameOf as nameOf,
  poolTag,
  type SeenLvm,
  spaceOf,
  thinPoolOf,
  thinShortage,
  unclearedFrom,
  volumeIdOf,
} from '../../model/storage/lvm-place.ts'
import type { LogicalVolume } from '../../model/storage/lvm-report.ts'
import type { DeviceSource, VolumeSource } from '../../model/storage/volume-source.ts'
import type { JailedTools } from '../../ports/jailed-tools.ts'
import type { LvmSource, LvmThinSource } from '../../ports/pool-source.ts'
import type {
  Adoption,
  CopyWork,
  ForeignKey,
  PoolBackend,
  PoolEntry,
  PoolMoments,
  PoolSpace,
  VolumeKey,
  VolumePlan,
  WordsBefore,
} from '../../ports/pools.ts'
import { inspectChain } from './copy-chain.ts'
import { adoptLv, giveBackLv, requireRaw } from './lvm-adopt.ts'
import { claimLvm, releaseLvm } from './lvm-claim.ts'
import { noneBeforehand, noRoom, spending } from './lvm-errors.ts'
import { ThinMoments } from './lvm-moment.ts'
import { changeSize, clearFrom, createCleared } from './lvm-sizes.ts'
import { type LvmDeadlines, LvmTools, VgGone } from './lvm-tools.ts'
import { copyChain } from './qemu-img.ts'

export interface LvmPoolOptions {
  /** The pool's id, by which what is its own is told. */
  readonly id: string
  readonly source: LvmSource | LvmThinSource
  readonly jailed: JailedTools
  readonly onUnreachable: (reason: string) => void
  readonly deadlines?: Partial<LvmDeadlines>
}

/** Opens the backend; nothing is asked of LVM yet. */
export const createLvmPool = (options: LvmPoolOptions): PoolBackend => new LvmPool(options)

class LvmPool implements PoolBackend {
  readonly type: PoolBackend['type']
  readonly path = undefined
  readonly place: string
  readonly capabilities: PoolBackend['capabilities']
  readonly directIo = true
  readonly isGuarded = true
  readonly #options: LvmPoolOptions
  readonly #where: LvmPlace
  readonly #tag: string
  readonly #tools: LvmTools
  readonly moments?: PoolMoments
  readonly #moments: ThinMoments
  readonly newIsZero = async () =>
    thinPoolOf(this.#where, await this.#tools.reach(() => this.#see()))?.zeroes ?? this.type === 'lvm'

  constructor(options: LvmPoolOptions) {
    const { id, source, onUnreachable, deadlines } = options
    const isThin = source.type === 'lvm-thin'
    this.#options = options
    this.#where = { vg: source.vg, thinPool: isThin ? source.thinPool : undefined }
    this.#tag = poolTag(id)
    this.#tools = new LvmTools({ vg: source.vg, onUnreachable, deadlines })
    this.type = source.type
    this.place = isThin ? `${source.vg}/${source.thinPool}` : source.vg
    this.capabilities = {
      formats: ['raw'],
      linkedClones: isThin,
      independentClones: isThin,
      nativeSnapshots: isThin,
      shrink: true,
      importInPlace: true,
    }
    this.#moments = new ThinMoments({
      tools: this.#tools,
      requireRoom: () => this.#requireRoom(0),
      see: async () => contentsOf(this.#where, await this.#see()),
      create: (volume, sizeBytes, args) => this.#createThin(volume, sizeBytes, args),
      fullName: (name) => `${source.vg}/${name}`,
      nameOf,
    })
    if (isThin) this.moments = this.#moments
  }

  async claim(options: { readonly force: boolean }): Promise<void> {
    await claimLvm(this.#claim, options)
  }

  async release(): Promise<void> {
    await this.#tools.reach(() => releaseLvm(this.#claim))
  }

  async inspect(): Promise<PoolSpace> {
    this.#tools.tryAgain()
    return await this.#tools.reach(async () => {
      const seen = await this.#see()
      const inactive = inactiveOf(this.#where, seen, this.#options.id)
      if (inactive.length > 0) await this.#tools.change('lvchange', '-ay', '-K', ...this.#named(inactive))
      return spaceOf(this.#where, seen)
    })
  }

  async list(): Promise<readonly PoolEntry[]> {
    const seen = await this.#tools.reach(() => this.#see())
    return contentsOf(this.#where, seen).map((one) => ({
      file: one.name,
      volumeId: volumeIdOf(one, this.#options.id),
      isVolume: true,
      sizeBytes: one.sizeBytes,
    }))
  }

  source(volume: VolumeKey): DeviceSource {
    return { kind: 'device', path: `/dev/${this.#full(volume)}`, format: volume.format }
  }

  async createEmpty(volume: VolumeKey, plan: VolumePlan): Promise<void> {
    const { vg, thinPool } = this.#where
    if (thinPool === undefined) {
      const size = ['--size', `${plan.capacityBytes}b`, vg]
      await createCleared(this.#tools, this.#full(volume), {
        create: (args) => this.#create(volume, [...args, ...size]),
        remove: () => this.remove(volume),
      })
      return
    }
    if (plan.preallocation === 'full') throw noneBeforehand(this.place)
    await this.#requireRoom(0)
    await this.#createThin(volume, plan.capacityBytes, [])
  }

  async createOverlay(): Promise<void> {
    throw new KvasirError('unsupported', `Logical volumes are raw, so none is an overlay in ${this.place}.`)
  }

  async createClone(volume: VolumeKey, origin: VolumeKey): Promise<void> {
    if (this.#where.thinPool === undefined)
      throw new KvasirError('unsupported', `Volume group ${this.place} has no clones but full ones.`)
    if (await this.#moments.finish(volume)) return
    await this.#requireRoom(0)
    // Without `-kn` a snapshot stays closed until it is asked for with `-K` (lvmthin(7)).
    await this.#create(volume, ['--snapshot', '-kn', '-ay', this.#full(origin)])
  }

  async createCopy(volume: VolumeKey, chain: readonly VolumeSource[], work: CopyWork): Promise<void> {
    work.signal.throwIfAborted()
    const { jailed } = this.#options
    const checked = await inspectChain(chain, { jailed, signal: work.signal })
    if (this.#where.thinPool !== undefined) await this.#requireRoom(checked.allocatedBytes)
    await this.createEmpty(volume, { capacityBytes: checked.capacityBytes })
    try {
      const device = { isZero: await this.newIsZero() }
      await copyChain(this.source(volume).path, chain, {
        ...work,
        jailed,
        fileSizeBytes: checked.capacityBytes,
        format: 'raw',
        device,
      })
    } catch (error) {
      await this.remove(volume).catch(() => {}) // What made it fail says more; recovery removes it by its row.
      throw error
    }
  }

  async absorb(): Promise<void> {
    throw new KvasirError('unsupported', `Logical volumes are raw, so none lies on another in ${this.place}.`)
  }

  async resize(volume: VolumeKey, capacityBytes: number): Promise<void> {
    await this.#tools.reach(async () => {
      const seen = await this.#see()
      const { sizeBytes } = this.#require(volume, seen)
      const extent = seen.group.extentBytes
      const wanted = Math.ceil(capacityBytes / extent) * extent
      if (wanted === sizeBytes) return
      const isThin = this.#where.thinPool !== undefined
      const change = { name: this.#full(volume), from: sizeBytes, to: wanted, isThin }
      await spending(this.place, () => changeSize(this.#tools, change))
    })
  }

  async capacityBytes(volume: VolumeKey): Promise<number> {
    return await this.#tools.reach(async () => {
      const { sizeBytes, tags } = this.#require(volume, await this.#see())
      const from = unclearedFrom(tags)
      if (from !== undefined) await clearFrom(this.#tools, this.#full(volume), from) // Whoever made it larger has died.
      return sizeBytes
    })
  }

  async adopt(volume: ForeignKey, note?: (before: WordsBefore) => void): Promise<Adoption> {
    requireRaw(volume)
    const seen = await this.#tools.reach(() => this.#see())
    return await this.#tools.reach(() => adoptLv(this.#require(volume, seen), this.#claim, note))
  }

  async giveBack(file: string, before: WordsBefore): Promise<void> {
    await this.#tools.reach(async () => giveBackLv(file, before, { ...this.#claim, seen: await this.#see() }))
  }

  async remove(volume: VolumeKey): Promise<void> {
    await this.#tools.reach(async () => {
      const found = this.#find(volume, await this.#see())
      if (!found?.tags.includes(this.#tag)) return
      await this.#tools.change('lvremove', ...this.#named([found.name]))
    })
  }

  async allocatedBytes(volume: VolumeKey): Promise<number | undefined> {
    const found = await this.#tools.reach(async () => this.#find(volume, await this.#see()))
    if (found === undefined || this.#where.thinPool === undefined) return found?.sizeBytes
    return Math.ceil(found.sizeBytes * (found.dataShare ?? 0))
  }

  async rest(): Promise<void> {
    await this.#tools.reach(async () => {
      const seen = await this.#see()
      const ours = contentsOf(this.#where, seen).filter((one) => one.isActive && one.tags.includes(this.#tag))
      if (ours.length > 0)
        await this.#tools.change('lvchange', '-an', ...this.#named(ours.map(({ name }) => name)))
    })
  }

  close(): void {}

  async #create(volume: VolumeKey, args: readonly string[]): Promise<void> {
    const tags = ['--addtag', this.#tag]
    await this.#tools.reach(() =>
      spending(this.place, () => this.#tools.change('lvcreate', '--name', nameOf(volume), ...tags, ...args)),
    )
  }

  async #createThin(volume: VolumeKey, sizeBytes: number, args: readonly string[]): Promise<void> {
    const { vg, thinPool = '' } = this.#where
    const size = ['--virtualsize', `${sizeBytes}b`]
    await this.#create(volume, ['--type', 'thin', ...size, '--thinpool', thinPool, ...args, vg])
  }

  get #claim() {
    const { id, source } = this.#options
    return { id, source, where: this.#where, place: this.place, tools: this.#tools }
  }

  /** What there is, of what bears our mark. */
  async #see(): Promise<SeenLvm> {
    const seen = await this.#tools.see()
    const mark = markOf(this.#where, seen)
    if (mark === undefined) throw new VgGone(`there is no thin pool ${this.place}`)
    if (!mark.includes(this.#tag)) throw new VgGone('it does not bear the mark of this pool')
    return seen
  }

  #find(volume: VolumeKey, seen: SeenLvm): LogicalVolume | undefined {
    const name = nameOf(volume)
    return contentsOf(this.#where, seen).find((one) => one.name === name && !isForMoment(one))
  }

  #require(volume: VolumeKey, seen: SeenLvm): LogicalVolume {
    const found = this.#find(volume, seen)
    if (found) return found
    throw new KvasirError('file-not-found', `There is no logical volume ${nameOf(volume)} in ${this.place}.`)
  }

  async #requireRoom(bytes: number): Promise<void> {
    const seen = await this.#tools.reach(() => this.#see())
    const short = thinShortage(this.#where, seen, bytes)
    if (short) throw noRoom(short, bytes)
  }

  #full(volume: VolumeKey): string {
    return `${this.#where.vg}/${nameOf(volume)}`
  }

  #named(names: readonly string[]): readonly string[] {
    return names.map((name) => `${this.#where.vg}/${name}`)
  }
}
