/**
 * Sets of CPUs as the kernel writes them: lists such as `0-3,8`, and masks such as `ff,00000000`. Format: the kernel's
 * Documentation/admin-guide/cputopology.rst and lib/bitmap.c.
 */

/** The most CPUs that Linux can be built for (NR_CPUS on x86). A number beyond is no CPU's. */
export const maxCpus = 8192

/**
 * The numbers of a list, ascending and each once. An empty list and `(null)`, which the kernel prints for a set that was never made,
 * are empty; undefined is what is no list, or names what cannot exist.
 */
export function parseCpuList(text: string | undefined): readonly number[] | undefined {
  const trimmed = text?.trim()
  if (trimmed === undefined) return undefined
  if (trimmed === '' || trimmed === '(null)') return []
  const numbers = new Set<number>()
  for (const part of trimmed.split(',')) {
    const range = /^\s*(\d{1,10})(?:-(\d{1,10})(?::(\d{1,10})\/(\d{1,10}))?)?\s*$/.exec(part)
    if (range === null) return undefined
    const [first, last] = [Number(range[1]), Number(range[2] ?? range[1])]
    const [used, group] = [Number(range[3] ?? 1), Number(range[4] ?? 1)]
    if (last >= maxCpus || first > last || group === 0) return undefined
    for (let n = first; n <= last; n++) if ((n - first) % group < used) numbers.add(n)
  }
  return [...numbers].sort((a, b) => a - b)
}

/** The numbers of a mask: words of 32 bits in hexadecimal, the highest first. */
export function parseCpuMask(text: string | undefined): readonly number[] | undefined {
  const trimmed = text?.trim().replace(/^0x/, '')
  if (trimmed === undefined || !/^[0-9a-f]{1,8}(,[0-9a-f]{1,8})*$/i.test(trimmed)) return undefined
  const words = trimmed.split(',').reverse()
  if (words.length > maxCpus / 32) return undefined
  const numbers: number[] = []
  for (const [index, word] of words.entries()) {
    const bits = Number.parseInt(word, 16)
    if (bits === 0) continue // Most are, where a mask is for a few of many CPUs.
    for (let bit = 0; bit < 32; bit++) if (((bits >>> bit) & 1) === 1) numbers.push(index * 32 + bit)
  }
  return numbers
}

/** Numbers as a list such as `0-3,8`; `none` for none. */
export function formatCpuList(numbers: readonly number[]): string {
  const ranges: { first: number; last: number }[] = []
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const open = ranges.at(-1)
    if (open !== undefined && number <= open.last + 1) open.last = number
    else ranges.push({ first: number, last: number })
  }
  const words = ranges.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`))
  return words.join(',') || 'none'
}
