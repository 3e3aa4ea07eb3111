/** Where a daemon listens: `unix:///run/kvasir/kvasir.sock`, `http://host:port`, `https://host:port`. */
import { resolve } from 'node:path'
import { KvasirError } from '@kvasir/contract/error-table'

/** A parsed address. `text` is how to name it to a person. */
export type DaemonAddress =
  | { readonly kind: 'unix'; readonly socketPath: string; readonly text: string }
  | { readonly kind: 'tcp'; readonly url: URL; readonly text: string }

/** Where the daemon listens when nothing else is said. */
export const defaultUrl = 'unix:///run/kvasir/kvasir.sock'

/** What the environment says of the daemon: `KVASIR_URL`, else the socket in `KVASIR_RUNTIME_DIR`, else nothing. */
export function urlOfEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
): string | undefined {
  const { KVASIR_URL: url = '', KVASIR_RUNTIME_DIR: runtimeDir = '' } = environment
  if (url !== '') return url
  return runtimeDir === '' ? undefined : resolve(runtimeDir, 'kvasir.sock')
}

/** Linux keeps socket paths in 108 bytes with a closing NUL (unix(7)). */
const maxSocketPathBytes = 107

/** Parses a `KVASIR_URL`; a bare absolute path is a socket. Throws `bad-request` for anything else. */
export function parseDaemonUrl(text: string): DaemonAddress {
  if (text.startsWith('/')) return unixAddress(text)
  if (!URL.canParse(text)) throw notAnAddress(text)
  const url = new URL(text)
  if (url.protocol === 'unix:') {
    if (url.host !== '') throw notAnAddress(text)
    return unixAddress(decodeURIComponent(url.pathname))
  }
  if (url.protocol === 'http:' || url.protocol === 'https:') return { kind: 'tcp', url, text: url.origin }
  throw notAnAddress(text)
}

/** The address of a socket of this host. Throws `bad-request` when its path is empty or longer than Linux allows. */
export function unixAddress(socketPath: string): DaemonAddress {
  if (socketPath === '' || socketPath === '/' || socketPath.includes('\0')) throw notAnAddress(socketPath)
  if (Buffer.byteLength(socketPath) > maxSocketPathBytes) {
    throw new KvasirError(
      'bad-request',
      `Socket path ${socketPath} is longer than the ${maxSocketPathBytes} bytes that Linux allows; use a shorter one.`,
    )
  }
  return { kind: 'unix', socketPath, text: socketPath }
}

function notAnAddress(text: string): KvasirError {
  return new KvasirError(
    'bad-request',
    `${JSON.stringify(text.slice(0, 200))} is not the address of a daemon; write unix:///run/kvasir/kvasir.sock or https://HOST:PORT.`,
  )
}
