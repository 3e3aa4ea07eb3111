/**
 * One HTTP request for a part of a file: from a given offset to the end, through at most a few redirects, each to an address that was
 * checked and is then connected to itself, so that a name cannot mean one address for the check and another for the connection.
 *
 * Not here: the file, going on after a cut, the digest (download.ts).
 */
import { lookup } from 'node:dns/promises'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { isIP } from 'node:net'
import { KvasirError } from '@kvasir/contract'
import { isPublicAddress } from '../../model/images/public-address.ts'

const maximumRedirects = 5
const redirects = new Set([301, 302, 303, 307, 308])

/** What is asked for and what may be connected to. */
export interface PartRequest {
  readonly url: string
  readonly offset: number
  readonly allowPrivate: boolean
  /** How long the other side may stay silent. */
  readonly idleTimeoutMs: number
  readonly signal: AbortSignal
}

/** An answer whose body is to be read: where in the file it begins, and the size of the whole file where the server says it. */
export interface Part {
  readonly body: IncomingMessage
  readonly offset: number
  readonly totalBytes: number | undefined
}

/** Asks for the part. Throws `KvasirError`: `address-refused`, `download-failed`; and what the connection throws. */
export async function fetchPart(request: PartRequest): Promise<Part> {
  let url = checkedUrl(request.url)
  for (let hop = 0; hop <= maximumRedirects; hop++) {
    const response = await get(url, request)
    const status = response.statusCode ?? 0
    if (!redirects.has(status)) return partOf(response, { url, offset: request.offset })
    response.destroy()
    const { location } = response.headers
    if (location === undefined)
      throw new KvasirError('download-failed', `${url.host} redirects without saying where to.`)
    url = checkedUrl(location, url)
  }
  throw new KvasirError(
    'download-failed',
    `${url.host} redirects more than ${maximumRedirects} times, so it was given up.`,
  )
}

/** Throws `address-refused` unless the text is an http or https URL without a user and password. */
export function checkedUrl(text: string, base?: URL): URL {
  const url = URL.parse(text, base?.href)
  if (url === null || !['http:', 'https:'].includes(url.protocol)) {
    throw new KvasirError(
      'address-refused',
      `${JSON.stringify(text)} is no http or https address, so nothing was fetched.`,
    )
  }
  if (url.username !== '' || url.password !== '') {
    throw new KvasirError(
      'address-refused',
      `The address on ${url.host} holds a password, which would be stored, so it is refused.`,
    )
  }
  return url
}

async function get(url: URL, request: PartRequest): Promise<IncomingMessage> {
  const { signal, idleTimeoutMs, offset } = request
  const target = await resolve(url, request.allowPrivate)
  signal.throwIfAborted()
  return new Promise((settle, reject) => {
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest
    const outgoing = send(
      url,
      {
        agent: false,
        signal,
        headers: {
          'user-agent': 'kvasir',
          'accept-encoding': 'identity',
          ...(offset > 0 ? { range: `bytes=${offset}-` } : {}),
        },
        // Node asks for a name although it is decided; the answer is the address that was checked.
        lookup: (_name, options, callback) => {
          if (options.all === true) callback(null, [target])
          else callback(null, target.address, target.family)
        },
      },
      settle,
    )
    outgoing.setTimeout(idleTimeoutMs, () => {
      outgoing.destroy(new Error(`${url.host} was silent for ${idleTimeoutMs} ms.`))
    })
    outgoing.on('error', reject)
    outgoing.end()
  })
}

async function resolve(
  url: URL,
  allowPrivate: boolean,
): Promise<{ readonly address: string; readonly family: number }> {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const literal = isIP(host)
  const addresses = literal === 0 ? await lookup(host, { all: true }) : [{ address: host, family: literal }]
  const [first] = addresses
  if (first === undefined)
    throw new KvasirError('download-failed', `${host} has no address, so nothing was fetched.`)
  if (!allowPrivate && !addresses.every(({ address }) => isPublicAddress(address))) {
    throw new KvasirError(
      'address-refused',
      `${host} leads to an address that is not of the public Internet, so nothing was fetched from it.`,
      { details: { host } },
    )
  }
  return first
}

function partOf(
  response: IncomingMessage,
  { url, offset }: { readonly url: URL; readonly offset: number },
): Part {
  const status = response.statusCode ?? 0
  const length = numberOf(response.headers['content-length'])
  if (status === 200) return { body: response, offset: 0, totalBytes: length }
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers['content-range'] ?? '')
  if (status === 206 && range !== null && Number(range[1]) === offset) {
    return { body: response, offset, totalBytes: numberOf(range[2]) }
  }
  response.destroy()
  throw new KvasirError('download-failed', `${url.host} answered ${status}, so nothing more was fetched.`, {
    details: { status },
  })
}

function numberOf(text: string | undefined): number | undefined {
  const value = Number(text)
  return text !== undefined && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}
