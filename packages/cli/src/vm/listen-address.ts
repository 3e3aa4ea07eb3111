/** Where something of this machine listens, as people write it: `5901`, `127.0.0.1:5901`, `[::1]:5901`. */
import { isIP } from 'node:net'
import { UsageError } from '../usage-error.ts'

export interface ListenAddress {
  readonly host: string
  /** 0 takes one that is free. */
  readonly port: number
}

const loopback = '127.0.0.1'
const highestPort = 65_535

/** Parses `[ADDRESS:]PORT`; without a text a free port of the loopback address. Throws `UsageError`. */
export function parseListenAddress(text: string | undefined): ListenAddress {
  if (text === undefined) return { host: loopback, port: 0 }
  const { host = loopback, port = '' } = /^(?:(?<host>.*):)?(?<port>\d{1,5})$/.exec(text)?.groups ?? {}
  const bare = host.replace(/^\[(.*)\]$/, '$1')
  const isBracketed = bare !== host
  if (port === '' || Number(port) > highestPort || isIP(bare) !== (isBracketed ? 6 : 4))
    throw new UsageError(
      `--listen is not a port of this machine: ${JSON.stringify(text)}.`,
      'Write --listen 5901, --listen 127.0.0.1:5901 or --listen [::1]:5901.',
    )
  return { host: bare, port: Number(port) }
}

/** An address as part of a URL. */
export function writeAddress({ host, port }: ListenAddress): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`
}

/** Whether only programs of this machine can reach it. */
export function isLoopback({ host }: ListenAddress): boolean {
  return host === '::1' || host.startsWith('127.')
}
