/** Figures of many rounds in a few words. */

/** The median and the largest of some times, as `median 12 ms, at most 80 ms`. */
export function spread(timesMs: readonly number[]): string {
  const sorted = timesMs.toSorted((a, b) => a - b)
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0
  return `median ${Math.round(median)} ms, at most ${Math.round(sorted.at(-1) ?? 0)} ms`
}
