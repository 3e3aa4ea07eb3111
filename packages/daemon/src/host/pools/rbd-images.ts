/**
 * The images of a Ceph pool, or of a namespace in one, by the tool `rbd`: named one by one, so that no name is taken for a path.
 *
 * A clone reads through a snapshot of its origin that nobody sees. An origin that is removed goes to Ceph's trash for as long as clones
 * read through it, and leaves with the last of them.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { KvasirError } from '@kvasir/contract'
import type { CommandOptions } from '@kvasir/linux'
import { type CephPlace, placeWords } from '../../model/storage/ceph-place.ts'
import {
  heldBytes,
  heldLocks,
  imageSize,
  imagesOf,
  isClone,
  snapshotNames,
  trashOf,
  usedBytes,
} from '../../model/storage/ceph-report.ts'
import type { Moment } from '../../ports/pools.ts'
import { imageFlags, poolFlags } from './ceph-flags.ts'
import { CephGone, type CephTools, cephErrorOf, cephErrors, cephWords } from './ceph-tools.ts'
import { copyState, makeClone } from './rbd-clone.ts'
import { openMoment } from './rbd-moment.ts'

/** Beyond the 30 s after which Ceph forgets a client that was killed. */
const busyTimeoutMs = 45_000
const busyLookMs = 1_000

/** A name that we give images: the id of a volume. */
export const ourImage = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export class RbdImages {
  readonly #tools: CephTools
  readonly #where: CephPlace

  constructor(tools: CephTools, where: CephPlace) {
    this.#tools = tools
    this.#where = where
  }

  async list(): Promise<ReturnType<typeof imagesOf>> {
    return await this.#tools.reach(async () => {
      try {
        return imagesOf(await this.#tools.ask('rbd', 'ls', '-l', ...this.#pool()))
      } catch (error) {
        if (cephErrorOf(error) !== cephErrors.missing) throw error
        throw new CephGone(`there is no namespace ${this.#where.namespace ?? 'in it'}`)
      }
    })
  }

  /** The size of an image. `file-not-found`. */
  async size(name: string): Promise<number> {
    try {
      return imageSize(await this.#tools.reach(() => this.#tools.ask('rbd', 'info', ...this.#image(name))))
    } catch (error) {
      if (cephErrorOf(error) !== cephErrors.missing) throw error
      const place = placeWords(this.#where)
      throw new KvasirError('file-not-found', `There is no RBD image ${name} in ${place}.`, { cause: error })
    }
  }

  /** The locks that somebody took on an image by hand: a client of librbd waits for them without an end. */
  async locks(name: string): Promise<ReturnType<typeof heldLocks>> {
    return heldLocks(
      await this.#tools.reach(() => this.#tools.ask('rbd', 'lock', 'ls', ...this.#image(name))),
    )
  }

  /** What an image holds, with what it reads through a clone's origin; undefined when there is none. */
  async used(name: string): Promise<number | undefined> {
    const image = this.#image(name)
    try {
      return await this.#tools.reach(async () => {
        const report = await this.#tools.ask('rbd', 'info', ...image)
        return isClone(report)
          ? heldBytes(await this.#tools.ask('rbd', 'diff', ...image, '--whole-object'))
          : usedBytes(await this.#tools.ask('rbd', 'du', ...image))
      })
    } catch (error) {
      if (cephErrorOf(error) === cephErrors.missing) return undefined
      throw error
    }
  }

  /** Makes an empty image; fails when there is one. */
  async create(name: string, size: { readonly bytes: number; readonly thick: boolean }): Promise<void> {
    const thick = size.thick ? ['--thick-provision'] : []
    try {
      await this.#size([
        'create',
        ...this.#image(name),
        '--size',
        `${size.bytes}B`,
        ...thick,
        '--no-progress',
      ])
    } catch (error) {
      if (cephErrorOf(error) !== cephErrors.exists) await this.remove(name).catch(() => {}) // What made it fail says more.
      throw error
    }
  }

  /** Makes an image of what was kept of another one for it, or of what that holds now. */
  async clone(name: string, origin: string): Promise<void> {
    await this.size(origin)
    const snapshot = [...this.#image(origin), '--snap', keptFor(name)]
    const { cephPool, namespace } = this.#where
    const named = namespace === undefined ? [] : ['--dest-namespace', namespace]
    const into = ['--dest-pool', cephPool, ...named, '--dest', name]
    await makeClone(
      { name, origin },
      {
        isKept: () => this.isKept(name, origin),
        copy: (isKept) =>
          this.#tools.reach(() =>
            copyState(this.#tools, this.#where, { name, kept: isKept ? snapshot : undefined }),
          ),
        keep: () => this.#change(['snap', 'create', ...snapshot, '--no-progress']),
        clone: () => this.#change(['clone', ...snapshot, ...into]),
        remove: async () => void (await this.#removeOnce(name)),
        letGo: () => this.letGo(name, origin),
      },
    )
  }

  /** Opens images, so that what they hold can be kept at one moment, for others of these names. */
  async openMoment(copies: readonly { readonly name: string; readonly origin: string }[]): Promise<Moment> {
    const wanted = copies.map(({ name, origin }) => ({ image: origin, snapshot: keptFor(name) }))
    const moment = await this.#spending(() => openMoment(this.#tools, this.#where, wanted))
    return {
      take: () => this.#spending(() => moment.take()),
      [Symbol.asyncDispose]: () => moment[Symbol.asyncDispose](),
    }
  }

  /** Whether something of an image is kept for another one, which was not made of it yet, or not wholly. */
  async isKept(name: string, origin: string): Promise<boolean> {
    try {
      const report = await this.#tools.reach(() =>
        this.#tools.ask('rbd', 'snap', 'ls', ...this.#image(origin)),
      )
      return snapshotNames(report).includes(keptFor(name))
    } catch (error) {
      if (cephErrorOf(error) === cephErrors.missing) return false
      throw error
    }
  }

  /** Lets go of what is kept for an image; no error when nothing is. */
  async letGo(name: string, origin: string): Promise<void> {
    const left = await this.#attempt([
      'snap',
      'rm',
      ...this.#image(origin),
      '--snap',
      keptFor(name),
      '--no-progress',
    ])
    if (left !== undefined && left !== cephErrors.missing)
      throw new KvasirError(
        'host-failed',
        `What is kept of RBD image ${origin} for ${name} could not be removed (error ${left}).`,
      )
  }

  /** Copies what a clone reads of its origin into it; whoever has it open does the work. False for what is no clone. */
  async flatten(
    name: string,
    work: { readonly onProgress: (fraction: number) => void; readonly signal: AbortSignal },
  ): Promise<boolean> {
    const image = this.#image(name)
    const isNow = async () => isClone(await this.#tools.reach(() => this.#tools.ask('rbd', 'info', ...image)))
    if (!(await isNow())) return false
    await this.#change(['flatten', ...image], {
      signal: work.signal,
      onStderr: (text) => {
        const percent = [...text.matchAll(/(\d{1,3})% complete/g)].at(-1)?.[1]
        if (percent !== undefined) work.onProgress(Number(percent) / 100)
      },
    })
    await this.#emptyTrash()
    return true
  }

  /** Gives an image another size. */
  async resize(name: string, bytes: number): Promise<void> {
    if ((await this.size(name)) === bytes) return
    await this.#size([
      'resize',
      ...this.#image(name),
      '--size',
      `${bytes}B`,
      '--allow-shrink',
      '--no-progress',
    ])
  }

  /** Removes an image; no error when there is none. `in-use` for one that stays open. */
  async remove(name: string): Promise<void> {
    const deadline = performance.now() + busyTimeoutMs
    while ((await this.#removeOnce(name)) === cephErrors.busy) {
      if (performance.now() > deadline)
        throw new KvasirError(
          'in-use',
          `The RBD image ${name} is still open somewhere, so it is not removed.`,
        )
      await pause(busyLookMs)
    }
    await this.#emptyTrash()
  }

  /** Removes an image, or lets go of it where clones read through it. Answers the number of an error that may pass. */
  async #removeOnce(name: string): Promise<number | undefined> {
    const image = this.#image(name)
    if ((await this.#attempt(['snap', 'purge', ...image, '--no-progress'])) === cephErrors.missing)
      return undefined
    const left = await this.#attempt(['rm', ...image, '--no-progress'])
    const last = left === cephErrors.notEmpty ? await this.#attempt(['trash', 'mv', ...image]) : left
    if (last === undefined || last === cephErrors.missing || last === cephErrors.busy) return last
    throw new KvasirError('host-failed', `The RBD image ${name} could not be removed (error ${last}).`)
  }

  /** Removes for good what was only kept for clones. What a clone of a clone began as goes after it. */
  async #emptyTrash(): Promise<void> {
    for (let removed = 1; removed > 0; ) {
      removed = 0
      const report = await this.#tools.reach(() => this.#tools.ask('rbd', 'trash', 'ls', ...this.#pool()))
      for (const { id, name } of trashOf(report)) {
        if (!ourImage.test(name)) continue
        const left = await this.#attempt(['trash', 'rm', ...this.#pool(), '--image-id', id, '--no-progress'])
        if (left === undefined) removed++
      }
    }
  }

  /** Answers the number of the error that a command ended with; undefined for none. */
  async #attempt(args: readonly string[]): Promise<number | undefined> {
    try {
      await this.#tools.reach(() => this.#tools.change('rbd', args))
      return undefined
    } catch (error) {
      const number = cephErrorOf(error)
      if (number === undefined) throw error
      return number
    }
  }

  /** Gives an image a size. `unsupported` for one that Ceph cannot count. */
  async #size(args: readonly string[]): Promise<void> {
    try {
      await this.#change(args)
    } catch (error) {
      if (cephErrorOf(error) !== cephErrors.invalid) throw error
      throw new KvasirError(
        'unsupported',
        `An RBD image would be larger than Ceph lets it be, so it is as it was (${cephWords(error)}).`,
        { cause: error },
      )
    }
  }

  async #change(args: readonly string[], options: Partial<CommandOptions> = {}): Promise<void> {
    await this.#spending(() => this.#tools.reach(() => this.#tools.change('rbd', args, options)))
  }

  /** Says that the pool is full where that is the reason, and what Ceph said where it is another one. */
  async #spending<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      const number = cephErrorOf(error)
      if (error instanceof KvasirError || number === undefined) throw error
      const place = placeWords(this.#where)
      if (number === cephErrors.noSpace || number === cephErrors.quota)
        throw new KvasirError('not-enough-space', `Ceph pool ${place} is full: ${cephWords(error)}`, {
          cause: error,
        })
      const said = cephWords(error)
      throw new KvasirError('host-failed', `Ceph did not do its part in pool ${place}: ${said}`, {
        cause: error,
      })
    }
  }

  #pool(): readonly string[] {
    return poolFlags(this.#where)
  }

  #image(name: string): readonly string[] {
    return imageFlags(this.#where, name)
  }
}

/** The snapshot of an origin, for as long as it takes to make a clone of it. */
function keptFor(name: string): string {
  return `for-${name}`
}
