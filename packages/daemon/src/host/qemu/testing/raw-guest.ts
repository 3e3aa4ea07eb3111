/** A guest of frames that a test makes, on its end of a NIC's socket: UDP and TCP of IPv4, from an address to wherever. */
import { Socket } from 'node:net'

const gatewayMac = '525500000a02'
const ownMac = '525400000001'
const ownAddress = '10.0.2.15'
const ipv4 = '0800'

/** What of UDP arrived at the guest. */
export interface Datagram {
  readonly from: string
  readonly port: number
  readonly text: string
}

export interface Way {
  readonly to: string
  readonly from: number
  readonly port: number
}

export interface RawGuest {
  sendUdp(way: Way, text: string): void
  /** The first packet of a connection. */
  sendSyn(way: Way): void
  readonly received: Datagram[]
  close(): void
}

export function openRawGuest(fd: number): RawGuest {
  const socket = new Socket({ fd })
  const received: Datagram[] = []
  let buffer = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    buffer = Buffer.concat([buffer, chunk])
    while (buffer.length >= 4 && buffer.length >= 4 + buffer.readUInt32BE()) {
      const end = 4 + buffer.readUInt32BE()
      const datagram = datagramIn(buffer.subarray(4, end))
      if (datagram) received.push(datagram)
      else answerArp(socket, buffer.subarray(4, end))
      buffer = buffer.subarray(end)
    }
  })
  return {
    received,
    sendUdp: ({ to, from, port }, text) => {
      const words = Buffer.from(text)
      const header = Buffer.alloc(8)
      for (const [index, value] of [from, port, 8 + words.length].entries())
        header.writeUInt16BE(value, 2 * index)
      send(socket, packet({ to, protocol: 17 }, Buffer.concat([header, words])))
    },
    sendSyn: ({ to, from, port }) => {
      const header = Buffer.alloc(20)
      header.writeUInt16BE(from, 0)
      header.writeUInt16BE(port, 2)
      header.writeUInt16BE(0x5002, 12)
      header.writeUInt16BE(8192, 14)
      header.writeUInt16BE(checksum(Buffer.concat([pseudoHeader(to, header.length), header])), 16)
      send(socket, packet({ to, protocol: 6 }, header))
    },
    close: () => void socket.destroy(),
  }
}

function send(socket: Socket, content: Buffer, type = ipv4): void {
  const frame = Buffer.concat([Buffer.from(gatewayMac + ownMac + type, 'hex'), content])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(frame.length)
  socket.write(Buffer.concat([length, frame]))
}

/** Says whose the guest's address is, to whoever asks. */
function answerArp(socket: Socket, frame: Buffer): void {
  if (frame.readUInt16BE(12) !== 0x0806 || frame.readUInt16BE(20) !== 1) return
  const asked = frame.subarray(38, 42)
  if (!asked.equals(bytesOf(ownAddress))) return
  const head = Buffer.from(`0001${ipv4}06040002${ownMac}`, 'hex')
  send(socket, Buffer.concat([head, asked, frame.subarray(22, 32)]), '0806')
}

function datagramIn(frame: Buffer): Datagram | undefined {
  if (frame.readUInt16BE(12) !== 0x0800 || frame[23] !== 17) return undefined
  const text = frame.subarray(42, 34 + frame.readUInt16BE(38)).toString()
  return { from: [...frame.subarray(26, 30)].join('.'), port: frame.readUInt16BE(34), text }
}

function packet({ to, protocol }: { readonly to: string; readonly protocol: number }, content: Buffer) {
  const header = Buffer.from('450000000000000040000000', 'hex')
  header.writeUInt16BE(20 + content.length, 2)
  header.writeUInt8(protocol, 9)
  const whole = Buffer.concat([header, bytesOf(ownAddress), bytesOf(to)])
  whole.writeUInt16BE(checksum(whole), 10)
  return Buffer.concat([whole, content])
}

function pseudoHeader(to: string, length: number): Buffer {
  return Buffer.concat([bytesOf(ownAddress), bytesOf(to), Buffer.from([0, 6, 0, length])])
}

/** Of the Internet (RFC 1071). */
function checksum(data: Buffer): number {
  let sum = 0
  for (let at = 0; at < data.length; at += 2) sum += data.readUInt16BE(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

function bytesOf(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number))
}
