/** A fake guest agent: it gets in step like a real one and leaves all other commands to the test. */
import type { Socket } from 'node:net'
import { type FakeCommand, type FakePeer, listenFakePeer, onCommands } from './fake-peer.ts'

/** Listens and answers handshakes; `serve` gets every other command. */
export async function listenFakeAgent(
  serve: (command: FakeCommand, socket: Socket) => void,
): Promise<FakePeer> {
  return await listenFakePeer((socket) => {
    onCommands(socket, (command) => {
      if (command.execute === 'guest-sync-delimited') socket.write(syncAnswer(command))
      else serve(command, socket)
    })
  })
}

/** The answer to a handshake, its 0xFF byte first. */
export function syncAnswer(command: FakeCommand): Buffer {
  return Buffer.concat([Buffer.of(0xff), Buffer.from(agentReply(command.arguments?.['id']))])
}

/** A line that answers a command of the agent. */
export function agentReply(value: unknown): string {
  return `${JSON.stringify({ return: value })}\n`
}
