/**
 * Idempotency keys: a repeated request gets the first one's answer instead of being done again.
 *
 * The answer is kept in the very transaction that makes what was asked for (`keep`), so that no death of the daemon parts the two, and
 * once more as it was sent. Only answers of success are kept: a refusal changed nothing, so the repetition is judged anew. Of two
 * requests with one key at the same time the second waits for the first. Keys of different callers never meet.
 */
import { createHash } from 'node:crypto'
import { KvasirError } from '@kvasir/contract'
import type { AnswerStore, ApiLog } from './api-options.ts'
import { apiLimits } from './limits.ts'

/** An answer as it travels: a status and the JSON text. */
export interface KeptAnswer {
  readonly status: number
  readonly body: string
}

/** A request under a key. */
export interface KeyedRequest {
  readonly key: string
  readonly caller: string
  readonly method: string
  readonly path: string
  readonly ifMatch: number | undefined
  readonly body: unknown
}

interface UnderWay {
  readonly requestHash: string
  readonly answer: Promise<KeptAnswer>
}

/** The answers to requests with keys: stored ones, and those under way. */
export class IdempotentAnswers {
  readonly #store: AnswerStore
  readonly #now: () => string
  readonly #log: ApiLog
  readonly #underWay = new Map<string, UnderWay>()

  constructor(store: AnswerStore, parts: { readonly now: () => string; readonly log: ApiLog }) {
    this.#store = store
    this.#now = parts.now
    this.#log = parts.log
  }

  /** Does the work, or answers what it answered before; `idempotency-conflict` when the key belongs to another request. */
  async once(
    request: KeyedRequest,
    work: (keep: (answer: KeptAnswer) => void) => Promise<KeptAnswer>,
  ): Promise<KeptAnswer & { readonly replayed: boolean }> {
    const scopedKey = digest([request.caller, request.key])
    const requestHash = digest([request.method, request.path, request.ifMatch ?? null, request.body])
    for (let first = this.#underWay.get(scopedKey); first; first = this.#underWay.get(scopedKey)) {
      refuseOther(first.requestHash, requestHash)
      const answer = await first.answer.catch(() => undefined)
      if (answer) return { ...answer, replayed: true }
      // The first was refused, so this one is the first now, or waits for who was quicker.
    }
    const stored = this.#store.find(scopedKey)
    if (stored) {
      refuseOther(stored.requestHash, requestHash)
      return { status: stored.status, body: stored.body, replayed: true }
    }
    const answer = work((kept) => this.#store.remember(scopedKey, { requestHash, ...kept }, this.#now()))
    this.#underWay.set(scopedKey, { requestHash, answer })
    try {
      const done = await answer
      this.#remember(scopedKey, { requestHash, ...done })
      return { ...done, replayed: false }
    } finally {
      this.#underWay.delete(scopedKey)
    }
  }

  #remember(scopedKey: string, answer: KeptAnswer & { readonly requestHash: string }): void {
    try {
      this.#store.remember(scopedKey, answer, this.#now())
    } catch (error) {
      // The work is done; its answer must not be lost as well.
      this.#log.warn({ err: error }, 'the answer to a request with an idempotency key could not be kept')
    }
  }
}

/** The key of an Idempotency-Key header; `bad-request` when it is empty, too long or not printable. */
export function parseIdempotencyKey(header: string | readonly string[] | undefined): string | undefined {
  if (header === undefined) return undefined
  const key = typeof header === 'string' ? header : ''
  if (key.length > apiLimits.idempotencyKeyLength || !/^[\x21-\x7e]+$/.test(key))
    throw new KvasirError(
      'bad-request',
      `The Idempotency-Key header is not 1 to ${apiLimits.idempotencyKeyLength} printable characters, so nothing was done.`,
    )
  return key
}

function refuseOther(known: string, requestHash: string): void {
  if (known === requestHash) return
  throw new KvasirError(
    'idempotency-conflict',
    'The idempotency key was used for another request, so this one is refused.',
  )
}

function digest(value: unknown): string {
  return createHash('sha256').update(canonical(value)).digest('hex')
}

/** JSON with sorted keys, so that the order in which a client writes them does not matter. */
function canonical(value: unknown): string {
  return (
    JSON.stringify(value, (_key, part: unknown) =>
      typeof part === 'object' && part !== null && !Array.isArray(part)
        ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1)))
        : part,
    ) ?? 'null'
  )
}
