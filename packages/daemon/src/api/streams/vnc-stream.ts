/** A display over a WebSocket: RFB bytes, passed on in both directions no faster than the slower side takes them. */
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import { bytesOf } from './bytes-of.ts'
import { closeCodes, streamLimits } from './limits.ts'
import { closeSocket } from './open-socket.ts'

/** Passes bytes on until either side ends. */
export function streamVnc(socket: WebSocket, display: Duplex): void {
  display.on('data', (chunk: Buffer) => {
    if (socket.readyState !== socket.OPEN) return
    socket.send(chunk, () => {
      if (display.isPaused() && !isFull(socket)) display.resume()
    })
    if (isFull(socket)) display.pause()
  })
  socket.on('message', (data) => {
    if (display.destroyed || display.write(bytesOf(data))) return
    socket.pause()
    display.once('drain', () => socket.resume())
  })

  const end = () => {
    socket.resume()
    closeSocket(socket, closeCodes.done, 'the display has ended')
    display.destroy()
  }
  display.once('end', end)
  display.once('close', end)
  display.on('error', end)
  socket.once('close', () => display.destroy())
}

function isFull(socket: WebSocket): boolean {
  return socket.bufferedAmount > streamLimits.unsentBytes
}
