/**
 * Who may ask. On the UNIX socket the file's mode decided already; on TCP a bearer token does. Comes before any parsing.
 *
 * Browsers send what a foreign page tells them to, so on TCP a request that names another origin is refused where it could change or
 * open something; a WebSocket's upgrade is a GET and is checked too.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { KvasirError } from '@kvasir/contract'
import type { Caller } from '../services/handlers.ts'
import type { ApiToken } from './api-options.ts'

/** How a connection came in. */
export type Transport = 'unix' | 'tcp'

const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Tells who calls; `unauthorized` when nobody known does. */
export function authenticate(
  request: IncomingMessage,
  transport: Transport,
  tokens: readonly ApiToken[],
): Caller {
  if (transport === 'unix') return { name: 'local' }
  const match = /^Bearer ([\x21-\x7e]{1,512})$/i.exec(request.headers.authorization ?? '')
  const caller = match?.[1] === undefined ? undefined : callerOfToken(match[1], tokens)
  if (!caller)
    throw new KvasirError('unauthorized', 'The request carries no token that is known, so it is refused.')
  return caller
}

/** Refuses what a page of another origin makes a browser send. */
export function refuseForeignOrigin(
  request: IncomingMessage,
  transport: Transport,
  origins: readonly string[],
): void {
  if (transport === 'unix') return
  const isUpgrade = request.headers.upgrade !== undefined
  if (!isUpgrade && safeMethods.has(request.method ?? '')) return
  const { origin, host } = request.headers
  const isForeign =
    origin === undefined
      ? request.headers['sec-fetch-site'] === 'cross-site'
      : !isOwnOrigin(origin, host) && !origins.includes(origin)
  if (isForeign)
    throw new KvasirError('forbidden', 'The request comes from a page of another origin, so it is refused.')
}

function callerOfToken(token: string, tokens: readonly ApiToken[]): Caller | undefined {
  const digest = createHash('sha256').update(token).digest()
  let found: Caller | undefined
  // All are compared, so that the time tells nothing.
  for (const { name, sha256 } of tokens) {
    const known = Buffer.from(sha256, 'hex')
    if (known.length === digest.length && timingSafeEqual(known, digest)) found = { name }
  }
  return found
}

function isOwnOrigin(origin: string, host: string | undefined): boolean {
  return host !== undefined && URL.canParse(origin) && new URL(origin).host === host.toLowerCase()
}
