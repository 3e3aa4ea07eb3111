/** Connections that come over a UNIX socket, by the number that the kernel knows them by. */
import type { Socket } from 'node:net'

/** The descriptor of our end of a connection from a process of this host; undefined for one over a network. */
export function localConnection(socket: Socket): number | undefined {
  if (socket.remoteAddress !== undefined || 'encrypted' in socket) return undefined
  // Node has no public name for the descriptor of a socket; `_handle.fd` has been it since Node 0.6.
  const handle: unknown = Reflect.get(socket, '_handle')
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined
  return typeof fd === 'number' && fd >= 0 ? fd : undefined
}
