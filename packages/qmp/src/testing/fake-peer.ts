/** Peers for tests: a server on a UNIX socket of its own that says what the test tells it to. */
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A listening peer; disposing it ends its connections and removes its socket. */
export interface FakePeer extends AsyncDisposable {
  readonly path: string
}

/** What the client sent, parsed. */
export interface FakeCommand {
  readonly execute: string
  readonly arguments?: { readonly [name: string]: unknown }
  readonly id?: string
}

/** How a fake QEMU greets. */
export const greeting = `${JSON.stringify({
  QMP: { version: { qemu: { major: 7, minor: 2, micro: 22 }, package: 'fake' }, capabilities: ['oob'] },
})}\r\n`

/** Listens, and gives each connection to `serve`. */
export async function listenFakePeer(serve: (socket: Socket) => void): Promise<FakePeer> {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-qmp-'))
  const path = join(folder, 'peer.sock')
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}) // A client that breaks off is part of these tests.
    socket.on('close', () => sockets.delete(socket))
    serve(socket)
  })
  const listening = Promise.withResolvers<void>()
  server.once('error', listening.reject)
  server.listen(path, listening.resolve)
  await listening.promise
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** A peer that greets and negotiates like QEMU and leaves all other commands to `serve`. */
export async function listenFakeMonitor(
  serve: (command: FakeCommand, socket: Socket) => void,
): Promise<FakePeer> {
  return await listenFakePeer((socket) => {
    socket.write(greeting)
    onCommands(socket, (command) => {
      if (command.execute === 'qmp_capabilities') socket.write(reply(command, {}))
      else serve(command, socket)
    })
  })
}

/** Calls `take` for each command line of a connection; other bytes before a brace are dropped. */
export function onCommands(socket: Socket, take: (command: FakeCommand) => void): void {
  let rest = ''
  socket.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString('latin1')).split('\n')
    rest = lines.pop() ?? ''
    // The client under test is the only writer.
    for (const line of lines) take(JSON.parse(line.slice(line.indexOf('{'))) as FakeCommand)
  })
}

/** A line that answers a command. */
export function reply(command: FakeCommand, value: unknown): string {
  return `${JSON.stringify({ return: value, id: command.id })}\r\n`
}

/** A line that tells an event. */
export function eventLine(event: string, data: object = {}): string {
  return `${JSON.stringify({ timestamp: { seconds: 1_700_000_000, microseconds: 5_000 }, event, data })}\r\n`
}
