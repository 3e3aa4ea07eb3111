/** How wide text is on a terminal, and text made safe for one: what guests and files say must not move the cursor. */

const printableAscii = /^[\x20-\x7e]*$/
const wide =
  /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{20000}-\u{3fffd}]/u
const zeroWidth = /^[\p{Mark}\u200b-\u200d\u2060\ufeff]+$/u

/** Replaces control and bidirectional characters, which could rewrite the screen. */
export function printable(text: string): string {
  if (printableAscii.test(text)) return text
  return text.replace(/[\p{Cc}\p{Bidi_Control}]/gu, '\ufffd')
}

/** The columns that a text takes. */
export function widthOf(text: string): number {
  if (printableAscii.test(text)) return text.length
  let width = 0
  for (const { segment } of new Intl.Segmenter().segment(text)) width += segmentWidth(segment)
  return width
}

/** The text cut to a width, with an ellipsis where it was cut. */
export function cutTo(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text
  let width = 0
  let kept = ''
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    width += segmentWidth(segment)
    if (width > columns - 1) break
    kept += segment
  }
  return `${kept}…`
}

function segmentWidth(segment: string): number {
  if (zeroWidth.test(segment)) return 0
  return wide.test(segment) ? 2 : 1
}
