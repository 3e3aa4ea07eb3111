/**
 * What a guest says of itself, made fit to be shown. A guest is not trusted: its host name may be a terminal's escape sequence, and its
 * list of interfaces as long as an answer can be.
 */

const mostCharacters = 255
const mostEntries = 64

/** Text of a guest without control and format characters (of which terminals and bidirectional text are made), at most 255 long. */
export function guestText(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, '\u{FFFD}').slice(0, mostCharacters)
}

/** The first 64 entries of a list. */
export function guestList<T>(entries: readonly T[]): readonly T[] {
  return entries.slice(0, mostEntries)
}
