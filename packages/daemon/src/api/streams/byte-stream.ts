/** Bytes of another protocol over a WebSocket, RFB of a source or NBD of disks: both ways, no faster than the slower side takes them. */
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import { bytesOf } from './bytes-of.ts'
import { closeCodes, streamLimits } from './limits.ts'
import { closeSocket } from './open-socket.ts'

/** Passes bytes on until either side ends; `over` is why, where the client did not. */
export function streamBytes(socket: WebSocket, source: Duplex, over: string): void {
  source.on('data', (chunk: Buffer) => {
    if (socket.readyState !== socket.OPEN) return
    socket.send(chunk, () => {
      if (source.isPaused() && !isFull(socket)) source.resume()
    })
    if (isFull(socket)) source.pause()
  })
  socket.on('message', (data) => {
    if (source.destroyed || source.write(bytesOf(data))) return
    socket.pause()
    source.once('drain', () => socket.resume())
  })

  const end = () => {
    socket.resume()
    closeSocket(socket, closeCodes.done, over)
    source.destroy()
  }
  source.once('end', end)
  source.once('close', end)
  source.on('error', end)
  socket.once('close', () => source.destroy())
}

function isFull(socket: WebSocket): boolean {
  return socket.bufferedAmount > streamLimits.unsentBytes
}
