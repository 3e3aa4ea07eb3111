/** What is told of a series of measurements. Medians, since one disturbance on the machine must not decide a comparison. */

/** A series of measurements, told by its order. */
export interface Summary {
  readonly count: number
  readonly median: number
  readonly p90: number
  readonly p99: number
  readonly least: number
  readonly most: number
}

/** Sums a series up. Throws on an empty one, of which nothing can be said. */
export function summarize(values: readonly number[]): Summary {
  if (values.length === 0) throw new RangeError('Nothing was measured.')
  return {
    count: values.length,
    median: quantile(values, 0.5),
    p90: quantile(values, 0.9),
    p99: quantile(values, 0.99),
    least: Math.min(...values),
    most: Math.max(...values),
  }
}

/** The median of a series. */
export function median(values: readonly number[]): number {
  return summarize(values).median
}

/** The value below which a part of the series lies, between neighbours by their distance. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const place = (sorted.length - 1) * part
  const below = sorted[Math.floor(place)] ?? Number.NaN
  const above = sorted[Math.ceil(place)] ?? Number.NaN
  return below + (above - below) * (place - Math.floor(place))
}
