/**
 * Peers measured in turn, A B A B, so that whatever else the machine does falls on all of them alike.
 *
 * The first round of each does not count: it fills page caches and compiles code. Before each measurement comes a rest, in which the
 * kernel can take away what the last one ended (namespaces, memory), which would else fall on its successor.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { type Summary, summarize } from './statistics.ts'

/** One side of a comparison: gives how long it took, in milliseconds. Preparation and tidying up are its own and not counted. */
export type Measure = () => Promise<number>

const restMs = 150

/** What was measured of each peer. */
export class Comparison {
  readonly #measured: ReadonlyMap<string, readonly number[]>

  constructor(measured: ReadonlyMap<string, readonly number[]>) {
    this.#measured = measured
  }

  has(peer: string): boolean {
    return this.#measured.has(peer)
  }

  /** The series of a peer, summed up. Throws for one that was not measured. */
  of(peer: string): Summary {
    return summarize(this.#measured.get(peer) ?? [])
  }

  /** How many times the median of another a peer's is. */
  ratio(peer: string, other: string): number {
    return this.of(peer).median / this.of(other).median
  }

  /** Every value in the order of the rounds, for the JSON. */
  toJSON(): unknown {
    return Object.fromEntries(this.#measured)
  }
}

/** Measures every peer `rounds` times in turn, after one round that does not count. */
export async function interleave(
  peers: Readonly<Record<string, Measure>>,
  { rounds }: { readonly rounds: number },
): Promise<Comparison> {
  const measured = new Map<string, number[]>(Object.keys(peers).map((name) => [name, []]))
  for (let round = -1; round < rounds; round++) {
    for (const [name, measure] of Object.entries(peers)) {
      await pause(restMs)
      const ms = await measure()
      if (round >= 0) measured.get(name)?.push(ms)
    }
  }
  return new Comparison(measured)
}

/** How long something took, in milliseconds. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return performance.now() - startedAt
}
