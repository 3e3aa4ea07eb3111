/** A VNC viewer that gets as far as the size of the display, and asks for another: RFB 3.8 (RFC 6143, section 7). */
import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { ByteReader } from './byte-reader.ts'

const version = 'RFB 003.008\n'
/** The security type for no password. */
const noSecurity = 1
/** Bytes of the pixel format that stands between size and name, and of a pixel in it. */
const pixelFormatBytes = 16
const pixelBytes = 4
/** Encodings: pixels as they are, and the size with its screens (RFB's registry: ExtendedDesktopSize). */
const rawEncoding = 0
const sizeEncoding = -308

/** What a server says of its display. */
export interface Display {
  readonly width: number
  readonly height: number
  readonly name: string
}

/** Shakes hands with the VNC server at a port of 127.0.0.1, and leaves. */
export async function shakeHands(port: number): Promise<Display> {
  const socket = connect(port, '127.0.0.1')
  try {
    return await greet(socket, new ByteReader(socket))
  } finally {
    socket.destroy()
  }
}

/** What a server says of a size: why (0: of itself, 1: asked by this viewer), and what comes of it (4: the guest was told, 3: it cannot be). */
export interface ToldSize {
  readonly reason: number
  readonly status: number
}

/** Asks for another size of the display, and answers what the server says to that. */
export async function resize(
  port: number,
  wanted: { readonly width: number; readonly height: number },
): Promise<ToldSize> {
  const socket = connect(port, '127.0.0.1')
  try {
    const reader = new ByteReader(socket)
    const display = await greet(socket, reader)
    socket.write(Buffer.concat([encodings(), updateRequest(0, display), sizeRequest(wanted)]))
    for (;;) {
      const answer = (await readUpdate(reader)).find(({ reason }) => reason === 1)
      if (answer) return answer
      socket.write(updateRequest(1, display))
    }
  } finally {
    socket.destroy()
  }
}

async function greet(socket: Socket, reader: ByteReader): Promise<Display> {
  assert.equal((await reader.take(version.length)).toString('latin1'), version)
  socket.write(version)
  const [count = 0] = await reader.take(1)
  assert.ok((await reader.take(count)).includes(noSecurity), 'The display asks for no password.')
  socket.write(Buffer.from([noSecurity]))
  assert.equal((await reader.take(4)).readUInt32BE(), 0, 'The handshake is accepted.')
  socket.write(Buffer.from([1])) // Others may watch too.
  const head = await reader.take(4 + pixelFormatBytes + 4)
  const name = await reader.take(head.readUInt32BE(4 + pixelFormatBytes))
  return { width: head.readUInt16BE(0), height: head.readUInt16BE(2), name: name.toString() }
}

function encodings(): Buffer {
  const message = Buffer.alloc(12)
  message[0] = 2
  message.writeUInt16BE(2, 2)
  message.writeInt32BE(rawEncoding, 4)
  message.writeInt32BE(sizeEncoding, 8)
  return message
}

function updateRequest(incremental: 0 | 1, { width, height }: Pick<Display, 'width' | 'height'>): Buffer {
  const message = Buffer.alloc(10)
  message[0] = 3
  message[1] = incremental
  message.writeUInt16BE(width, 6)
  message.writeUInt16BE(height, 8)
  return message
}

/** One screen of the whole size (SetDesktopSize). */
function sizeRequest({ width, height }: { readonly width: number; readonly height: number }): Buffer {
  const message = Buffer.alloc(8 + 16)
  message[0] = 251
  message.writeUInt16BE(width, 2)
  message.writeUInt16BE(height, 4)
  message[6] = 1
  message.writeUInt16BE(width, 8 + 8)
  message.writeUInt16BE(height, 8 + 10)
  return message
}

/** Reads one update, and gives the sizes in it; its pixels are let go. */
async function readUpdate(reader: ByteReader): Promise<readonly ToldSize[]> {
  const told: ToldSize[] = []
  assert.equal((await reader.take(1))[0], 0, 'The server sends updates and nothing else.')
  const count = (await reader.take(3)).readUInt16BE(1)
  for (let index = 0; index < count; index++) {
    const head = await reader.take(12)
    const [width, height] = [head.readUInt16BE(4), head.readUInt16BE(6)]
    if (head.readInt32BE(8) === sizeEncoding) {
      const [screens = 0] = await reader.take(4)
      await reader.take(16 * screens)
      told.push({ reason: head.readUInt16BE(0), status: head.readUInt16BE(2) })
    } else {
      assert.equal(head.readInt32BE(8), rawEncoding)
      await reader.take(width * height * pixelBytes)
    }
  }
  return told
}
