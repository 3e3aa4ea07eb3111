/**
 * Listening UNIX sockets made by us for a child process: the child inherits the listener, nobody else can have made it, and the
 * path stays when our copy is closed.
 *
 * libuv unlinks the path that it bound when a server is closed, so the socket is bound under a passing name and renamed: closing
 * then removes nothing. The containing directory must not be writable by anyone but us.
 */
import { randomBytes } from 'node:crypto'
import { chmod, rename, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { dirname, join } from 'node:path'

/** A listening socket to hand to a child through `stdio`. */
export interface ChildListener {
  readonly path: string
  /** Valid until `release`; pass it in the `stdio` array of `spawn`. */
  readonly fd: number
  /** Closes our copy. The path and the child's copy stay. */
  release(): Promise<void>
  /** Closes our copy and removes the path: the undo of `listenForChild`. */
  remove(): Promise<void>
}

/**
 * Binds and listens on `path` (at most 86 bytes: sun_path holds 107 and the passing name may be longer) with mode 0600. An older
 * socket at the path is replaced. Connect only after `release`: until then this process would take the connection itself; afterwards
 * connections wait in the kernel's queue for the child.
 */
export async function listenForChild(path: string): Promise<ChildListener> {
  const passing = join(dirname(path), `.${randomBytes(6).toString('hex')}`)
  const server = createServer((connection) => connection.destroy())
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(passing, () => resolve())
  })
  try {
    await chmod(passing, 0o600)
    await rename(passing, path)
  } catch (error) {
    await close(server)
    throw error
  }
  const release = () => close(server)
  return {
    path,
    fd: listenerFd(server),
    release,
    remove: async () => {
      await release()
      await rm(path, { force: true })
    },
  }
}

function listenerFd(server: Server): number {
  // Node has no public name for the descriptor of a listening server; `_handle.fd` has been it since Node 0.6.
  const handle: unknown = Reflect.get(server, '_handle')
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined
  if (typeof fd !== 'number' || fd < 0) throw new TypeError('The listening socket has no descriptor.')
  return fd
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve()) // An error means that it is closed already.
  })
}
