/** The API without the client: what a careless or hostile program sends, and what comes back. */

import { request } from 'node:http'
import { connect } from 'node:net'
import { text as readText } from 'node:stream/consumers'
import type { Place } from './place.ts'

const answerMs = 10_000

/** An answer whose content is not checked against the contract. */
export interface RawAnswer {
  readonly status: number
  /** The code of the problem document; empty when it is none. */
  readonly code: string
  readonly detail: string
  readonly text: string
  /** The text as JSON; undefined when it is none. */
  readonly content: unknown
}

/** Sends a request with any value as its body. */
export async function sendRaw(
  place: Place,
  { method, path, body }: { readonly method: string; readonly path: string; readonly body?: unknown },
): Promise<RawAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<RawAnswer>()
  const outgoing = request(
    {
      socketPath: place.socketPath,
      method,
      path,
      headers: { 'content-type': 'application/json' },
      timeout: answerMs,
    },
    (incoming) => {
      readText(incoming).then((text) => {
        const content = parseJson(text)
        resolve({ status: incoming.statusCode ?? 0, text, content, ...problemOf(content) })
      }, reject)
    },
  )
  outgoing.on('timeout', () => outgoing.destroy(new Error(`${method} ${path} was not answered.`)))
  outgoing.on('error', reject)
  outgoing.end(body === undefined ? undefined : JSON.stringify(body))
  return promise
}

/** Writes bytes to the socket of the API and gives all that came back until it was closed, or until the time is over. */
export async function sendBytes(place: Place, bytes: Uint8Array | string, waitMs = 500): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const socket = connect(place.socketPath)
  let answer = ''
  socket.on('data', (chunk) => {
    answer += chunk.toString('latin1')
  })
  socket.on('error', () => {}) // Being cut off is an answer too.
  socket.on('close', () => resolve(answer))
  socket.setTimeout(waitMs, () => socket.destroy())
  socket.write(bytes)
  return promise
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function problemOf(content: unknown): { readonly code: string; readonly detail: string } {
  const fields = new Map<string, unknown>(
    typeof content === 'object' && content !== null ? Object.entries(content) : [],
  )
  const text = (key: string) => {
    const value = fields.get(key)
    return typeof value === 'string' ? value : ''
  }
  return { code: text('code'), detail: text('detail') }
}
