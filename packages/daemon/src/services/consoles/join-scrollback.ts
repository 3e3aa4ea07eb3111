/**
 * Joins what the log on disk holds with what came over the live connection, without a gap and without saying anything twice.
 *
 * QEMU gives every byte to the socket and to the log, the log a moment later and through another process. So the end of the log lies
 * somewhere inside the bytes that came live. The join is the longest beginning of the live bytes with which the log ends.
 *
 * Where output repeats itself exactly (the same line for pages) the place is ambiguous; then the longest match is taken, which can
 * hide repetitions but never shows a wrong byte order.
 */

/** The log, followed by what of the live bytes it does not hold yet. */
export function joinScrollback(log: Uint8Array, live: Uint8Array): Uint8Array {
  const shared = sharedLength(log, live)
  return Buffer.concat([log, live.subarray(shared)])
}

/** The length of the longest beginning of `live` with which `log` ends: Knuth, Morris and Pratt's search, left at the end of the log. */
function sharedLength(log: Uint8Array, live: Uint8Array): number {
  if (live.length === 0) return 0
  const fallback = borders(live)
  let matched = 0
  for (let index = Math.max(0, log.length - live.length); index < log.length; index++) {
    if (matched === live.length) matched = fallback[matched - 1] ?? 0
    while (matched > 0 && live[matched] !== log[index]) matched = fallback[matched - 1] ?? 0
    if (live[matched] === log[index]) matched++
  }
  return matched
}

/** For each beginning of the pattern, the length of the longest shorter beginning with which it ends. */
function borders(pattern: Uint8Array): Uint32Array {
  const lengths = new Uint32Array(pattern.length)
  let matched = 0
  for (let index = 1; index < pattern.length; index++) {
    while (matched > 0 && pattern[matched] !== pattern[index]) matched = lengths[matched - 1] ?? 0
    if (pattern[matched] === pattern[index]) matched++
    lengths[index] = matched
  }
  return lengths
}
