/** What of a volume is copied by one order: what lies behind each other in it, holes among it, up to a number of bytes and of parts. */

interface Extent {
  readonly lengthBytes: number
  readonly isZero: boolean
}

interface Step {
  /** What is copied. Holes are not. */
  readonly parts: readonly { readonly offset: number; readonly lengthBytes: number }[]
  /** How far it goes, holes included. */
  readonly lengthBytes: number
  /** What comes behind it. */
  readonly left: readonly Extent[]
}

/** A volume that is mostly holes has many small parts, and an order takes as long as copying some hundred KiB. */
const mostParts = 128

/** Takes the next step of extents that begin at an offset. Of at least one extent it goes on by at least one byte. */
export function nextParts(
  extents: readonly Extent[],
  { offset, mostBytes }: { readonly offset: number; readonly mostBytes: number },
): Step {
  const parts: Step['parts'][number][] = []
  let at = offset
  let room = mostBytes
  for (const [index, { lengthBytes, isZero }] of extents.entries()) {
    if (!isZero && (room === 0 || parts.length === mostParts))
      return { parts, lengthBytes: at - offset, left: extents.slice(index) }
    const taken = isZero ? lengthBytes : Math.min(lengthBytes, room)
    if (!isZero) parts.push({ offset: at, lengthBytes: taken })
    if (!isZero) room -= taken
    at += taken
    if (taken < lengthBytes) {
      const left = [{ lengthBytes: lengthBytes - taken, isZero }, ...extents.slice(index + 1)]
      return { parts, lengthBytes: at - offset, left }
    }
  }
  return { parts, lengthBytes: at - offset, left: [] }
}
