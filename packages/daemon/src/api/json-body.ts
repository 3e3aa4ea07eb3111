/**
 * Bodies: JSON of bounded depth. The depth is counted on the text, because parsing a megabyte of brackets would hold the event loop.
 */
import { KvasirError } from '@kvasir/contract'

/** Whether arrays and objects in a JSON text are nested deeper than `limit`. Brackets inside strings do not count. */
function isDeeperThan(text: string, limit: number): boolean {
  let depth = 0
  let inString = false
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (inString) {
      if (code === backslash) index++
      else if (code === quote) inString = false
    } else if (code === quote) inString = true
    else if (code === openBracket || code === openBrace) {
      if (++depth > limit) return true
    } else if (code === closeBracket || code === closeBrace) depth--
  }
  return false
}

/**
 * The value of a body; undefined for an empty one. `bad-request` for what is not JSON, is too deep, or carries a key that means an
 * object's prototype.
 */
export function parseJsonBody(text: string, depthLimit: number): unknown {
  if (text.trim() === '') return undefined
  if (isDeeperThan(text, depthLimit))
    throw new KvasirError(
      'bad-request',
      `The body is nested deeper than ${depthLimit} levels, so it was not read.`,
    )
  try {
    // The reviver is slow, and only a text with one of these can hold the key.
    const suspicious = text.includes('__proto__') || text.includes('\\u')
    return JSON.parse(text, suspicious ? refusePrototypeKeys : undefined)
  } catch (error) {
    if (error instanceof KvasirError) throw error
    throw new KvasirError('bad-request', 'The body is not JSON, so the request was not understood.', {
      cause: error,
    })
  }
}

function refusePrototypeKeys(key: string, value: unknown): unknown {
  if (key === '__proto__')
    throw new KvasirError('bad-request', 'The body has a key __proto__, so it was not read.')
  return value
}

const quote = 0x22
const backslash = 0x5c
const openBracket = 0x5b
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d
