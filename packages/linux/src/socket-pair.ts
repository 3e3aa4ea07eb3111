/**
 * Two connected UNIX stream sockets for two child processes, which then speak with each other and with nobody else.
 *
 * Node has no socketpair(2): a listener under a passing name is connected to once and is gone again. Nothing is ever read here: a
 * socket that Node reads would steal what the children say to each other. The sockets do not block, as all of Node's.
 */
import { randomBytes } from 'node:crypto'
import { createServer, Socket } from 'node:net'
import { join } from 'node:path'

/** One end of a pair, to hand to a child through `stdio`. */
export interface SocketEnd {
  /** Valid until `release`. */
  readonly fd: number
  /** Closes our copy; the child's stays. Safe to repeat. */
  release(): void
}

export type SocketPair = readonly [SocketEnd, SocketEnd]

const timeoutMs = 5_000

/** Makes a pair. `directory` (at most 94 bytes) must not be writable by anyone but us, and has nothing more in it afterwards. */
export async function connectPair(directory: string): Promise<SocketPair> {
  const path = join(directory, `.${randomBytes(6).toString('hex')}`)
  const server = createServer({ pauseOnConnect: true })
  const client = new Socket()
  client.pause() // Else Node begins to read as soon as it is connected.
  const deadline = AbortSignal.timeout(timeoutMs)
  try {
    const accepted = await new Promise<Socket>((resolve, reject) => {
      deadline.addEventListener('abort', () => reject(deadline.reason), { once: true })
      server.once('error', reject)
      client.once('error', reject)
      server.once('connection', (socket) => {
        if (client.connecting) client.once('connect', () => resolve(socket))
        else resolve(socket)
      })
      server.listen(path, () => client.connect(path))
    })
    return [endOf(client), endOf(accepted)]
  } catch (error) {
    client.destroy()
    throw error
  } finally {
    server.close() // It removes its path.
  }
}

function endOf(socket: Socket): SocketEnd {
  socket.on('error', () => {}) // What happens to the connection is the children's to see.
  // Node has no public name for the descriptor of a socket; `_handle.fd` has been it since Node 0.6.
  const handle: unknown = Reflect.get(socket, '_handle')
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined
  if (typeof fd !== 'number' || fd < 0) throw new TypeError('The connected socket has no descriptor.')
  return { fd, release: () => void socket.destroy() }
}
