/** A display over a WebSocket: RFB bytes, passed on in both directions as fast as the slower side takes them. */
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createWebSocketStream, type WebSocket } from 'ws'
import { closeCodes, streamLimits } from './limits.ts'
import { closeSocket } from './open-socket.ts'

/** Passes bytes on until either side ends. */
export function streamVnc(socket: WebSocket, display: Duplex): void {
  const client = createWebSocketStream(socket, { highWaterMark: streamLimits.messageBytes })
  const passing = Promise.allSettled([pipeline(display, client), pipeline(client, display)])
  // Either end is an ordinary one: a viewer closed its window, a VM ended.
  void passing.then(() => closeSocket(socket, closeCodes.done, 'the display has ended'))
  display.once('close', () => closeSocket(socket, closeCodes.done, 'the display has ended'))
  socket.once('close', () => display.destroy())
}
