/** Reads the kernel's tables of sockets (proc_net_tcp.rst): addresses are 32-bit words in hexadecimal, each in the byte order of the machine. */
import { formatAddress } from './address.ts'

/** A socket that waits for callers, by its inode. */
export interface SocketRow {
  readonly protocol: 'tcp' | 'udp'
  readonly address: string
  readonly port: number
  readonly inode: string
}

/** TCP_LISTEN; of UDP, 7 is a socket that is bound and not connected. */
const waiting = { tcp: '0A', udp: '07' } as const

/** Those of a table that wait. Lines that are none are left out. */
export function parseListeners(text: string, protocol: 'tcp' | 'udp'): readonly SocketRow[] {
  return text.split('\n').flatMap((line) => {
    const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/)
    const match = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/.exec(local)
    if (!match || state !== waiting[protocol] || inode === undefined || !/^\d+$/.test(inode)) return []
    const [, words = '', port = ''] = match
    return [{ protocol, address: addressOf(words), port: Number.parseInt(port, 16), inode }]
  })
}

/** x86-64 has the lowest byte first. */
function addressOf(words: string): string {
  const bytes = words.replaceAll(/(..)(..)(..)(..)/g, '$4$3$2$1')
  const value = BigInt(`0x${bytes}`)
  if (bytes.length === 8) return formatAddress({ family: 4, value })
  return value >> 32n === 0xffffn
    ? formatAddress({ family: 4, value: value & 0xffffffffn })
    : formatAddress({ family: 6, value })
}
