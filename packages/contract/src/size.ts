/**
 * Sizes in words and in bytes.
 *
 * Both the binary suffixes (KiB, MiB, GiB, TiB, PiB) and their one-letter forms (K, M, G, T, P) mean powers of 1024, as QEMU and
 * libvirt users expect. A size is a safe integer: what a JSON number cannot hold exactly is refused, never rounded.
 *
 * Not here: the schemas (units.ts). This file loads without zod, so that the CLI starts quickly.
 */

const exponentOf: Readonly<Record<string, number>> = { '': 0, b: 0, k: 1, m: 2, g: 3, t: 4, p: 5 }

/** The bytes that a size such as `2GiB`, `2048MiB`, `2G` or `1048576` stands for; undefined when it is not a size. */
export function parseBytes(text: string): number | undefined {
  const match = /^\s*(\d{1,16})(?:\.(\d{1,6}))?\s*([bkmgtp]?)(?:ib|b)?\s*$/i.exec(text)
  if (!match) return undefined
  const [, whole = '', fraction = '', suffix = ''] = match
  const exponent = exponentOf[suffix.toLowerCase()]
  if (exponent === undefined) return undefined
  const unit = 1024n ** BigInt(exponent)
  const scale = 10n ** BigInt(fraction.length)
  const scaled = BigInt(whole + fraction) * unit
  if (scaled % scale !== 0n) return undefined
  const bytes = scaled / scale
  return bytes <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(bytes) : undefined
}

/** A size in words: the largest unit that keeps at most two decimals, e.g. `1.50 GiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let value = bytes
  let index = 0
  while (value >= 1024 && index < units.length - 1) {
    value /= 1024
    index++
  }
  const digits = Number.isInteger(value) ? 0 : value >= 100 ? 0 : value >= 10 ? 1 : 2
  return `${value.toFixed(digits)} ${units[index]}`
}
