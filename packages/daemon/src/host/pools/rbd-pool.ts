/**
 * A pool of RBD: the images of a Ceph pool, or of a namespace in one, each a raw volume that QEMU speaks to itself. A new volume is named
 * by its id. Clones are Ceph's own and need nobody afterwards: an origin that is removed while clones read through it goes to Ceph's
 * trash, and from there with the last of them.
 *
 * The mark of the pool is an object beside its images. Not here: how the tools of Ceph are called (ceph-tools.ts), names and addresses
 * (model/storage/ceph-place.ts).
 */
import { KvasirError } from '@kvasir/contract'
import {
  type CephPlace,
  isReached,
  networksOf,
  placeWords,
  rbdSourceOf,
} from '../../model/storage/ceph-place.ts'
import { cephSpace, osdAddresses } from '../../model/storage/ceph-report.ts'
import type { ProtocolSource, VolumeSource } from '../../model/storage/volume-source.ts'
import type { JailedTools } from '../../ports/jailed-tools.ts'
import type {
  Adoption,
  CopyWork,
  PoolBackend,
  PoolEntry,
  PoolMoments,
  PoolSpace,
  VolumeKey,
  VolumePlan,
} from '../../ports/pools.ts'
import { poolFlags } from './ceph-flags.ts'
import { CephGone, CephTools, type CephToolsOptions, cephErrorOf, cephErrors } from './ceph-tools.ts'
import { copyInto, inspectChain } from './copy-chain.ts'
import { ourImage, RbdImages } from './rbd-images.ts'

export interface RbdPoolOptions extends CephToolsOptions {
  /** The pool's id, which its mark says. */
  readonly id: string
  readonly jailed: JailedTools
}

/** The object that says whose the pool is. */
const markObject = 'kvasir.pool'
/** Opens the backend; nothing is asked of Ceph yet. */
export function createRbdPool(options: RbdPoolOptions): PoolBackend {
  return new RbdPool(options)
}

class RbdPool implements PoolBackend {
  readonly type = 'rbd'
  readonly path = undefined
  readonly place: string
  readonly capabilities: PoolBackend['capabilities'] = {
    formats: ['raw'],
    linkedClones: true,
    independentClones: true,
    nativeSnapshots: true,
    shrink: true,
    importInPlace: true,
  }
  readonly moments: PoolMoments = {
    open: (copies) =>
      this.#images.openMoment(
        copies.map(({ copy, origin }) => ({ name: nameOf(copy), origin: nameOf(origin) })),
      ),
    isKept: ({ copy, origin }) => this.#images.isKept(nameOf(copy), nameOf(origin)),
    letGo: ({ copy, origin }) => this.#images.letGo(nameOf(copy), nameOf(origin)),
  }
  readonly directIo = true
  readonly isGuarded = true
  readonly #options: RbdPoolOptions
  readonly #where: CephPlace
  readonly #tools: CephTools
  readonly #images: RbdImages

  constructor(options: RbdPoolOptions) {
    this.#options = options
    this.#where = options.place
    this.#tools = new CephTools(options)
    this.#images = new RbdImages(this.#tools, options.place)
    this.place = `${placeWords(options.place)} at ${options.place.monitors.join(', ')}`
  }

  async claim({ force }: { readonly force: boolean }): Promise<void> {
    const mark = await this.#claiming(async () => {
      await this.#requireReach()
      await this.#space()
      await this.#images.list() // There is a namespace, if one was named.
      return await this.#readMark()
    })
    if (mark === this.#options.id) return
    if (mark !== undefined && mark !== '' && !force)
      throw this.#refusal(`${this.place} is marked as the pool ${mark} already, of this daemon or another`)
    await this.#tools.reach(() =>
      this.#tools.change('rados', [...poolFlags(this.#where), 'put', markObject, '-'], {
        input: this.#options.id,
      }),
    )
  }

  async release(): Promise<void> {
    await this.#tools.reach(async () => {
      if ((await this.#readMark()) === this.#options.id)
        await this.#tools.change('rados', [...poolFlags(this.#where), 'rm', markObject])
    })
    await this.#tools.forgetLogin()
  }

  async inspect(): Promise<PoolSpace> {
    this.#tools.tryAgain()
    return await this.#tools.reach(async () => {
      const mark = await this.#readMark()
      if (mark !== this.#options.id) throw new CephGone('it does not bear the mark of this pool')
      return await this.#space()
    })
  }

  async list(): Promise<readonly PoolEntry[]> {
    return (await this.#images.list()).map(({ image, sizeBytes }) => ({
      file: image,
      volumeId: ourImage.exec(image)?.[0],
      isVolume: true,
      sizeBytes,
    }))
  }

  source(volume: VolumeKey): ProtocolSource {
    return rbdSourceOf(this.#where, nameOf(volume))
  }

  async createEmpty(volume: VolumeKey, { capacityBytes, preallocation }: VolumePlan): Promise<void> {
    await this.#images.create(nameOf(volume), { bytes: capacityBytes, thick: preallocation === 'full' })
  }

  async createOverlay(): Promise<void> {
    throw new KvasirError('unsupported', `RBD images are raw, so none is an overlay in ${this.place}.`)
  }

  async createClone(volume: VolumeKey, origin: VolumeKey): Promise<void> {
    await this.#images.clone(nameOf(volume), nameOf(origin))
  }

  async flatten(volume: VolumeKey, { onProgress, signal }: CopyWork): Promise<boolean> {
    return await this.#images.flatten(nameOf(volume), { onProgress, signal })
  }

  async createCopy(volume: VolumeKey, chain: readonly VolumeSource[], work: CopyWork): Promise<void> {
    work.signal.throwIfAborted()
    const { jailed } = this.#options
    const { capacityBytes } = await inspectChain(chain, { jailed, signal: work.signal })
    await this.createEmpty(volume, { capacityBytes })
    try {
      await copyInto(this.source(volume), chain, { ...work, jailed, isZero: true })
    } catch (error) {
      await this.remove(volume).catch(() => {}) // What made it fail says more; recovery removes it by its row.
      throw error
    }
  }

  async absorb(): Promise<void> {
    throw new KvasirError('unsupported', `RBD images are raw, so none lies on another in ${this.place}.`)
  }

  async resize(volume: VolumeKey, capacityBytes: number): Promise<void> {
    await this.#images.resize(nameOf(volume), capacityBytes)
  }

  async capacityBytes(volume: VolumeKey): Promise<number> {
    return await this.#images.size(nameOf(volume))
  }

  async requireUnlocked(volume: VolumeKey): Promise<void> {
    const image = nameOf(volume)
    const [lock] = await this.#images.locks(image)
    if (lock === undefined) return
    const words = `${lock.locker} at ${lock.address} (lock ${lock.id})`
    throw new KvasirError(
      'in-use',
      `The RBD image ${image} in ${placeWords(this.#where)} is locked by ${words}, so nothing else can write to it; \`rbd lock rm\` takes the lock away.`,
      { details: { image, ...lock } },
    )
  }

  async adopt(volume: VolumeKey & { readonly file: string }): Promise<Adoption> {
    const refuse = (why: string) =>
      new KvasirError('image-refused', `The RBD image ${volume.file} ${why}, so it is not imported.`)
    if (volume.format !== 'raw') throw refuse('is raw, and is imported as raw or not at all')
    if (!/^[^/@]+$/.test(volume.file)) throw refuse('has a name that no image of a pool has')
    const capacityBytes = await this.capacityBytes(volume)
    if (capacityBytes === 0 || capacityBytes % 512 !== 0) throw refuse('is no whole number of sectors')
    return { capacityBytes }
  }

  async remove(volume: VolumeKey): Promise<void> {
    await this.#images.remove(nameOf(volume))
  }

  async allocatedBytes(volume: VolumeKey): Promise<number | undefined> {
    return await this.#images.used(nameOf(volume))
  }

  close(): void {
    void this.#tools.forgetLogin().catch(() => {}) // It is on no disk, and written anew with the next command.
  }

  async #space(): Promise<PoolSpace> {
    const { cephPool } = this.#where
    const space = cephSpace(await this.#tools.ask('ceph', 'df'), cephPool)
    if (space === undefined) throw new CephGone(`there is no Ceph pool ${cephPool}`)
    const { storedBytes, availableBytes } = space
    return { capacityBytes: storedBytes + availableBytes, allocatedBytes: storedBytes, availableBytes }
  }

  /** What the mark says; undefined for none. */
  async #readMark(): Promise<string | undefined> {
    try {
      return (await this.#tools.look('rados', ...poolFlags(this.#where), 'get', markObject, '-')).trim()
    } catch (error) {
      if (cephErrorOf(error) === cephErrors.missing) return undefined
      throw error
    }
  }

  /** A VM that cannot connect to an OSD would hang at its first request for what lies there. */
  async #requireReach(): Promise<void> {
    const osds = osdAddresses(await this.#tools.ask('ceph', 'osd', 'dump'))
    const beyond = osds.find((osd) => !isReached(osd, this.#where))
    if (beyond === undefined) return
    throw this.#refusal(
      `An OSD listens at ${beyond.address}, port ${beyond.port}, outside of ${networksOf(this.#where).join(', ')} and the usual ports; name the network of the OSDs`,
    )
  }

  /** What does not answer or is refused cannot be made a pool. */
  async #claiming<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await this.#tools.reach(work)
    } catch (error) {
      if (!(error instanceof KvasirError) || error.code !== 'pool-unreachable') throw error
      throw this.#refusal(`${this.place} cannot be used, because ${String(error.details['reason'])}`, error)
    }
  }

  #refusal(what: string, cause?: unknown): KvasirError {
    return new KvasirError('pool-refused', `${what}, so it is not made a pool.`, {
      details: { place: this.place },
      cause,
    })
  }
}

function nameOf({ id, file }: VolumeKey): string {
  if (file !== undefined) return file
  if (!ourImage.test(id)) throw new TypeError(`${JSON.stringify(id)} is not an id.`)
  return id
}
