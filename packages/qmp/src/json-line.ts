/**
 * One line of JSON from a peer that is not trusted: depth first, then JSON.parse, then its shape.
 *
 * The depth is counted on the bytes, because JSON.parse of millions of nested arrays blocks the event
 * loop for seconds before anything could object.
 *
 * Integers above 2^53 lose their last digits here, as in every JSON.parse.
 */
import { QmpProtocolError } from './errors.ts'

const quote = 0x22
const backslash = 0x5c
const openBracket = 0x5b
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d

/** A JSON object of unknown contents. */
export type JsonObject = { readonly [key: string]: unknown }

/** Says whether a value is a JSON object, neither null nor an array. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Parses a line that must hold one JSON object; throws QmpProtocolError otherwise or when nested deeper than `maxDepth`. */
export function parseJsonLine(line: Buffer, maxDepth: number): JsonObject {
  if (isNestedDeeperThan(line, maxDepth)) {
    throw new QmpProtocolError(`a message is nested deeper than ${maxDepth} levels, so it is not read`)
  }
  let value: unknown
  try {
    value = JSON.parse(line.toString('utf8'))
  } catch {
    throw new QmpProtocolError(`a line is not JSON (${excerpt(line)}), so the stream cannot be followed`)
  }
  if (!isJsonObject(value)) {
    throw new QmpProtocolError(
      `a message is not an object (${excerpt(line)}), so the stream cannot be followed`,
    )
  }
  return value
}

/** Counts brackets outside strings; stops at the first one too deep. */
export function isNestedDeeperThan(text: Uint8Array, maxDepth: number): boolean {
  if (text.length <= maxDepth) return false
  let depth = 0
  for (let i = 0; i < text.length; i++) {
    const byte = text[i]
    if (byte === quote) i = endOfString(text, i)
    else if (byte === openBracket || byte === openBrace) depth++
    else if (byte === closeBracket || byte === closeBrace) depth--
    if (depth > maxDepth) return true
  }
  return false
}

function endOfString(text: Uint8Array, openingQuote: number): number {
  let i = openingQuote + 1
  while (i < text.length && text[i] !== quote) i += text[i] === backslash ? 2 : 1
  return i
}

/** At most 60 printable characters of a line, for an error sentence. */
function excerpt(line: Buffer): string {
  const shown = JSON.stringify(line.subarray(0, 60).toString('utf8'))
  return line.length > 60 ? `${shown} and ${line.length - 60} more bytes` : shown
}
