/**
 * What thin volumes hold at one moment, kept by a process that waits for it (lvm-moment.pl). `lvcreate --snapshot` holds LVM's lock, so
 * that several come one after the other, and most of its time goes to metadata of LVM; therefore LVM makes empty volumes before, and at
 * the moment the thin pool is told to make each of them a snapshot, under the number that LVM has for it.
 *
 * Until the moment such a number is nothing in the pool, so whether a volume can be opened says whether it was kept, whatever died in
 * between. It is closed, bears a tag, and counts as no volume until it is made a clone.
 */
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { CommandError } from '@kvasir/linux'
import { isForMoment, keptTag } from '../../model/storage/lvm-place.ts'
import type { LogicalVolume } from '../../model/storage/lvm-report.ts'
import type { CopyAtMoment, Moment, PoolMoments, VolumeKey } from '../../ports/pools.ts'
import type { LvmTools } from './lvm-tools.ts'
import { WaitingProgram } from './waiting-program.ts'

const program = join(import.meta.dirname, 'lvm-moment.pl')
/** A device that cannot be suspended waits for what was written to it. */
const momentMs = 30_000
/** ENODATA, which dm-thin answers for a number that it does not have. */
const noSuchThin = /No data available/

/** What a pool does with its volumes. */
export interface ThinHands {
  readonly tools: LvmTools
  /** `not-enough-space`. */
  requireRoom(): Promise<void>
  see(): Promise<readonly LogicalVolume[]>
  create(volume: VolumeKey, sizeBytes: number, args: readonly string[]): Promise<void>
  /** `GROUP/NAME`. */
  fullName(name: string): string
  nameOf(volume: VolumeKey): string
}

export class ThinMoments implements PoolMoments {
  readonly #hands: ThinHands

  constructor(hands: ThinHands) {
    this.#hands = hands
  }

  async open(copies: readonly CopyAtMoment[]): Promise<Moment> {
    const hands = this.#hands
    await hands.requireRoom()
    const before = await hands.see()
    for (const { origin, copy } of copies) {
      const { sizeBytes } = find(before, hands.nameOf(origin))
      // Skipped when the host opens its volumes at boot: until the moment it cannot be opened.
      await hands.create(copy, sizeBytes, ['-an', '-ky', '--addtag', keptTag])
    }
    const made = await hands.see()
    const args = copies.flatMap(({ origin, copy }) => [
      `/dev/${this.#full(origin)}`,
      String(find(made, hands.nameOf(copy)).thinId),
    ])
    const waiting = new WaitingProgram({
      argv: ['perl', program, ...args], // It does not end with us: volumes must not stay suspended.
      deadlineMs: momentMs,
      hung: () => hands.tools.hung('the device mapper', momentMs),
      refused: (number, words) =>
        new KvasirError('host-failed', `The device mapper took no snapshot: ${words}`, {
          details: { errno: number ?? null },
        }),
    })
    try {
      await hands.tools.reach(() => waiting.expect('ready'))
    } catch (error) {
      await waiting.end()
      throw error
    }
    return {
      take: () => hands.tools.reach(() => waiting.order('taken')),
      [Symbol.asyncDispose]: () => waiting.end(),
    }
  }

  async isKept({ origin, copy }: CopyAtMoment): Promise<boolean> {
    if (!(await this.#reserved(copy))) return false
    await this.#wake(origin)
    return await this.#opens(copy)
  }

  async letGo({ origin, copy }: CopyAtMoment): Promise<void> {
    const { tools } = this.#hands
    if (!(await this.#reserved(copy))) return
    await this.#wake(origin)
    await tools.reach(() => tools.change('lvremove', this.#full(copy)))
  }

  /** Makes a clone of what was kept for it; false when nothing was. */
  async finish(copy: VolumeKey): Promise<boolean> {
    const { tools } = this.#hands
    if (!(await this.#reserved(copy))) return false
    const isKept = await this.#opens(copy)
    await tools.reach(() =>
      isKept
        ? tools.change('lvchange', '-kn', '--deltag', keptTag, this.#full(copy))
        : tools.change('lvremove', this.#full(copy)),
    )
    return isKept
  }

  async #reserved(copy: VolumeKey): Promise<boolean> {
    const hands = this.#hands
    const name = hands.nameOf(copy)
    return (await hands.see()).some((one) => one.name === name && isForMoment(one))
  }

  /** Opens what was kept; false where the thin pool has no such thing. */
  async #opens(copy: VolumeKey): Promise<boolean> {
    const { tools } = this.#hands
    return await tools.reach(async () => {
      try {
        await tools.change('lvchange', '-ay', '-K', this.#full(copy))
        return true
      } catch (error) {
        if (error instanceof CommandError && noSuchThin.test(error.stderr)) return false
        throw error
      }
    })
  }

  /** Lets an origin go on that whoever took the moment left suspended. */
  async #wake(origin: VolumeKey): Promise<void> {
    const { tools } = this.#hands
    await tools.reach(() => tools.change('lvchange', '--refresh', this.#full(origin)))
  }

  #full(volume: VolumeKey): string {
    return this.#hands.fullName(this.#hands.nameOf(volume))
  }
}

function find(volumes: readonly LogicalVolume[], name: string): LogicalVolume {
  const found = volumes.find((one) => one.name === name)
  if (found) return found
  throw new KvasirError('file-not-found', `There is no logical volume ${name}.`)
}
