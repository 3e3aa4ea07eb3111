/** What an endpoint is: one value from which the server binds, the SDK calls, OpenAPI is written and the CLI takes its flags. */
import { z } from 'zod'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

/** How an answer travels: JSON, nothing, raw bytes, a text stream, or the contents of a volume. */
export type Answer = 'json' | 'none' | 'png' | 'text' | 'bytes' | 'contents'

export interface Endpoint<
  Params extends z.ZodType = z.ZodType,
  Query extends z.ZodType = z.ZodType,
  Body extends z.ZodType = z.ZodType,
  Response extends z.ZodType = z.ZodType,
> {
  readonly id: string
  readonly method: Method
  readonly path: `/${string}`
  readonly summary: string
  readonly params: Params
  readonly query: Query
  readonly body: Body
  readonly response: Response
  readonly status: 200 | 201 | 202 | 204
  readonly answer: Answer
  /** Takes an Idempotency-Key header: a repeated request gives the first one's answer. */
  readonly idempotent: boolean
  /** Takes If-Match with the resource's revision. */
  readonly ifMatch: boolean
}

const nothing = z.strictObject({})
type Nothing = typeof nothing

interface Description<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, R extends z.ZodType> {
  readonly id: string
  readonly method: Method
  readonly path: `/${string}`
  readonly summary: string
  readonly params?: P
  readonly query?: Q
  readonly body?: B
  readonly response?: R
  readonly status?: 200 | 201 | 202 | 204
  readonly answer?: Answer
  readonly idempotent?: boolean
  readonly ifMatch?: boolean
}

/** Makes an endpoint; what is not said is empty. */
export function endpoint<
  P extends z.ZodType = Nothing,
  Q extends z.ZodType = Nothing,
  B extends z.ZodType = z.ZodUndefined,
  R extends z.ZodType = z.ZodUndefined,
>(description: Description<P, Q, B, R>): Endpoint<P, Q, B, R> {
  const answer = description.answer ?? (description.response ? 'json' : 'none')
  return {
    id: description.id,
    method: description.method,
    path: description.path,
    summary: description.summary,
    // Each default below is the very type that its type parameter defaults to.
    params: (description.params ?? nothing) as P,
    query: (description.query ?? nothing) as Q,
    body: (description.body ?? z.undefined()) as B,
    response: (description.response ?? z.undefined()) as R,
    status: description.status ?? (answer === 'none' ? 204 : 200),
    answer,
    idempotent: description.idempotent ?? false,
    ifMatch: description.ifMatch ?? false,
  }
}
