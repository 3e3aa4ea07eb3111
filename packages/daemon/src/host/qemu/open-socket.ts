/** A connection to one of an emulator's sockets. */
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { KvasirError } from '@kvasir/contract'

/** Connects to a socket; `emulator-unresponsive` when nobody takes it. */
export function openSocket(path: string): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.off('error', reject)
      resolve(socket)
    })
    socket.once('error', (error) =>
      reject(
        new KvasirError('emulator-unresponsive', 'The emulator does not take the connection.', {
          cause: error,
        }),
      ),
    )
  })
}
