/** An open WebSocket with the manners that all our streams share: signs of life, a bounded closing, no unheard errors. */
import type { WebSocket } from 'ws'
import { closeCodes, streamLimits } from './limits.ts'

/** Asks a silent peer for signs of life and cuts the connection when none comes. */
export function keepAlive(socket: WebSocket): void {
  let alive = true
  const heard = () => {
    alive = true
  }
  socket.on('pong', heard)
  socket.on('message', heard)
  socket.on('ping', heard)
  // What is wrong with a message is told to the peer by ws itself; the close that follows is what matters here.
  socket.on('error', heard)
  const timer = setInterval(() => {
    if (!alive) return socket.terminate()
    alive = false
    socket.ping()
  }, streamLimits.pingMs)
  socket.once('close', () => clearInterval(timer))
}

/** Closes with a code and a reason of at most 123 bytes; cuts when the peer does not answer. */
export function closeSocket(socket: WebSocket, code: number, reason: string): void {
  if (socket.readyState === socket.CLOSED) return
  socket.close(code, shorten(reason))
  const cut = setTimeout(() => socket.terminate(), streamLimits.closeMs)
  socket.once('close', () => clearTimeout(cut))
}

/** Closes because the daemon goes. */
export function closeAtExit(socket: WebSocket): void {
  closeSocket(socket, closeCodes.goingAway, 'the daemon is shutting down')
}

function shorten(reason: string): string {
  let short = reason.slice(0, 123)
  while (Buffer.byteLength(short) > 123) short = short.slice(0, -1)
  return short
}
