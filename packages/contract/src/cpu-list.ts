/**
 * Sets of host CPUs as people write them: `0-3,8,^2` is 0, 1, 3 and 8. What `^` takes away is gone wherever it stands in the list, as
 * order has no meaning in a set.
 *
 * Not here: the schema (cpu-tuning.ts), and the kernel's own lists and masks, which packages/linux reads. This file loads without zod.
 */

/** The most CPUs that Linux can be built for (NR_CPUS on x86). A number beyond is no CPU's. */
export const maxCpus = 8192

/** A list with more parts than this was not written by a person. */
const maxParts = 1024

/** The numbers of a list, ascending and each once; empty when all were taken away. Undefined for what is no list. */
export function parseCpuList(text: string): readonly number[] | undefined {
  const parts = text.split(',')
  if (parts.length > maxParts) return undefined
  // Bytes, not sets: a thousand times all CPUs is a list that somebody can send.
  const named = new Uint8Array(maxCpus)
  const taken = new Uint8Array(maxCpus)
  for (const part of parts) {
    const match = /^\s*(\^?)(\d{1,4})(?:-(\d{1,4}))?\s*$/.exec(part)
    if (match === null) return undefined
    const [first, last] = [Number(match[2]), Number(match[3] ?? match[2])]
    if (first > last || last >= maxCpus) return undefined
    const marks = match[1] === '^' ? taken : named
    marks.fill(1, first, last + 1)
  }
  // A list that only takes away says nothing of what it takes from.
  if (!named.includes(1)) return undefined
  const cpus: number[] = []
  named.forEach((isNamed, cpu) => {
    if (isNamed === 1 && taken[cpu] === 0) cpus.push(cpu)
  })
  return cpus
}

/** The shortest list of a set of CPUs, such as `0-1,3,8`: the same set is always the same text. Empty for no CPU. */
export function formatCpuList(cpus: Iterable<number>): string {
  const ranges: { first: number; last: number }[] = []
  for (const cpu of [...new Set(cpus)].sort((a, b) => a - b)) {
    const open = ranges.at(-1)
    if (open !== undefined && cpu === open.last + 1) open.last = cpu
    else ranges.push({ first: cpu, last: cpu })
  }
  return ranges.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join(',')
}
