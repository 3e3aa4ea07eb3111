/** Names that were probably meant by one that does not exist. */

/** How many are told at the most. */
const mostTold = 3

/** The candidates nearest to a word that are near enough to have been meant, the nearest first. */
export function nearNames(word: string, candidates: readonly string[]): readonly string[] {
  const wanted = word.toLowerCase()
  const limit = Math.max(1, Math.floor(wanted.length / 3))
  return candidates
    .map((name) => ({ name, distance: nearness(wanted, name.toLowerCase()) }))
    .filter(({ distance }) => distance <= limit)
    .sort((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1))
    .slice(0, mostTold)
    .map(({ name }) => name)
}

/** A word that begins a name counts as nearer than one with another letter. */
function nearness(word: string, name: string): number {
  return word.length >= 3 && name.startsWith(word) ? 0.5 : lettersApart(word, name)
}

/** How many letters must be put in, taken out or replaced to make one word of the other. */
function lettersApart(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let i = 1; i <= from.length; i++) {
    const next = [i]
    for (let j = 1; j <= to.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[to.length] ?? 0
}
