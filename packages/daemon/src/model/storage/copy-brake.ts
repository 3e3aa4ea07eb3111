/**
 * Whether the guest writes so fast that a copy of its disk never gets to the end, and what its writes are held to then. Pure: over
 * what was left to copy at two moments.
 */

/** What was left to copy at a moment. */
export interface CopySample {
  readonly atMs: number
  readonly copiedBytes: number
  readonly leftBytes: number
}

/** So long a time is looked back on. */
const windowMs = 3_000
/** What is left has to become smaller by this share in that time, or by what takes that time no more. */
const leastShare = 0.1
/** A guest is not held to less. */
const leastBytesPerSecond = 128 * 1024

/** A copy as it goes on. */
export class CopyBrake {
  #last: CopySample | undefined
  #bytesPerSecond: number | undefined

  /** What the guest may write in a second from now on; undefined for as before. */
  next(sample: CopySample): number | undefined {
    const last = this.#last
    if (last && sample.atMs - last.atMs < windowMs) return undefined
    this.#last = sample
    if (!last || sample.leftBytes <= last.leftBytes * (1 - leastShare)) return undefined
    if (sample.copiedBytes <= last.copiedBytes) return undefined // It stands still, for which the guest is not to blame.
    const seconds = (sample.atMs - last.atMs) / 1000
    const copied = (sample.copiedBytes - last.copiedBytes) / seconds
    const wanted = this.#bytesPerSecond === undefined ? copied / 2 : this.#bytesPerSecond / 2
    const held = Math.max(leastBytesPerSecond, Math.round(wanted))
    if (held === this.#bytesPerSecond) return undefined
    this.#bytesPerSecond = held
    return held
  }
}
