/**
 * A console over a WebSocket.
 *
 * The server speaks first: `{"kind":"hello","mode":"read"|"write","scrollbackBytes":N}` as text, then N bytes of scrollback and
 * everything that follows as binary messages. Binary messages of the client are typed; its texts are ignored. When something changes
 * the server says `{"kind":"notice","text":...,"mode":...}`. It closes with 1000 and a reason when the VM ends, with 1013 when the
 * client reads too slowly.
 */
import type { WebSocket } from 'ws'
import type { ConsoleSession, ViewerMode } from '../../services/consoles/console-hub.ts'
import { bytesOf } from './bytes-of.ts'
import { closeCodes } from './limits.ts'
import { closeSocket } from './open-socket.ts'

/** How often a client is told that its typing goes nowhere. */
const noticePauseMs = 5_000

/** Shows a console until either side ends it. */
export function streamConsole(socket: WebSocket, session: ConsoleSession): void {
  const tell = (message: Readonly<Record<string, unknown>>) => socket.send(JSON.stringify(message))
  const notice = (text: string, mode: ViewerMode) => tell({ kind: 'notice', text, mode })
  let toldAt = Number.NEGATIVE_INFINITY

  socket.once('close', () => session.leave())
  socket.on('message', (data, isBinary) => {
    if (!isBinary || session.write(bytesOf(data))) return
    const now = performance.now()
    if (now - toldAt < noticePauseMs) return
    toldAt = now
    notice(
      session.mode === 'read'
        ? 'You are watching; what you type is not passed on.'
        : 'The guest does not read its console; what you type is lost.',
      session.mode,
    )
  })
  tell({ kind: 'hello', mode: session.mode, scrollbackBytes: session.scrollback.length })
  if (session.scrollback.length > 0) socket.send(session.scrollback)
  session.watch({
    output: (bytes) => socket.send(bytes),
    unreadBytes: () => socket.bufferedAmount,
    notice,
    end: (why, reason) =>
      closeSocket(socket, why === 'too-slow' ? closeCodes.tryAgain : closeCodes.done, reason),
  })
}
