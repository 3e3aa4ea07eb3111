/** A VNC viewer that gets as far as the size of the display: the handshake of RFB 3.8 (RFC 6143, section 7). */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

const stepMs = 10_000
const version = 'RFB 003.008\n'
/** The security type for no password. */
const noSecurity = 1
/** Bytes of the pixel format that stands between size and name. */
const pixelFormatBytes = 16

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
    const reader = new ByteReader(socket)
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
  } finally {
    socket.destroy()
  }
}

class ByteReader {
  readonly #socket: Socket
  #bytes = Buffer.alloc(0)

  constructor(socket: Socket) {
    this.#socket = socket
    socket.pause()
  }

  /** The next bytes; fails when the connection ends before them. */
  async take(length: number): Promise<Buffer> {
    while (this.#bytes.length < length) {
      const chunk: unknown = this.#socket.read()
      if (Buffer.isBuffer(chunk)) this.#bytes = Buffer.concat([this.#bytes, chunk])
      else {
        assert.ok(!this.#socket.readableEnded, 'The server closed the connection.')
        await once(this.#socket, 'readable', { signal: AbortSignal.timeout(stepMs) })
      }
    }
    const taken = this.#bytes.subarray(0, length)
    this.#bytes = this.#bytes.subarray(length)
    return taken
  }
}
