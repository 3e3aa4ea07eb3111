/** A serial console of a VM as a person has it: what was said, what is typed, and who else is there. */
import assert from 'node:assert/strict'
import { endpoints, streams } from '@kvasir/contract'
import type { Client } from '@kvasir/sdk'
import { eventually } from './eventually.ts'

export type ConsoleMode = 'read' | 'write' | 'take-over'

const promptMs = 20_000

/** An open console. Disposing closes it. */
export interface GuestConsole extends Disposable {
  /** What this viewer may do now. */
  readonly mode: () => 'read' | 'write'
  /** Everything that was shown, scrollback first. */
  readonly screen: () => string
  /** What the daemon told besides what the guest says. */
  readonly notices: () => readonly string[]
  /** Bytes of scrollback that were sent first. */
  readonly scrollbackBytes: number
  readonly type: (text: string) => Promise<void>
  /** Waits until a text is on the screen. */
  readonly untilShown: (text: string | RegExp) => Promise<void>
  /** Types a command into the guest's shell and gives what it printed. */
  readonly shell: (command: string) => Promise<string>
  /** Settles with the reason when the console ends. */
  readonly ended: Promise<string>
}

/** Opens the console of a VM with a ticket of its own. */
export async function openConsole(
  client: Client,
  { name, mode }: { readonly name: string; readonly mode: ConsoleMode },
): Promise<GuestConsole> {
  const { ticket } = await client.call(endpoints.consoleTicket, { params: { name }, body: { mode } })
  return joinConsole(client, ticket)
}

/** Opens a console with a ticket. */
export async function joinConsole(client: Client, ticket: string): Promise<GuestConsole> {
  const socket = await client.openStream(streams.console, { ticket })
  const messages = socket.messages()
  const first = await messages.next()
  assert.ok(first.done !== true && first.value.kind === 'text', 'The daemon speaks first, in text.')
  const hello = parseNotice(first.value.text)
  assert.equal(hello.kind, 'hello')

  let screen = ''
  let mode = hello.mode
  const notices: string[] = []
  const read = async (): Promise<string> => {
    for (;;) {
      const next = await messages.next()
      if (next.done === true) return next.value.reason
      if (next.value.kind === 'bytes') screen += next.value.bytes.toString('utf8')
      else {
        const notice = parseNotice(next.value.text)
        mode = notice.mode
        notices.push(notice.text)
      }
    }
  }
  const ended = read()
  const untilShown = async (text: string | RegExp, from = 0): Promise<void> => {
    const shows = () =>
      typeof text === 'string' ? screen.indexOf(text, from) >= 0 : text.test(screen.slice(from))
    await eventually(async () => (shows() ? true : undefined), {
      withinMs: promptMs,
      what: `the console shows ${String(text)} (it shows ${JSON.stringify(screen.slice(-300))})`,
    })
  }
  return {
    mode: () => mode,
    screen: () => screen,
    notices: () => notices,
    scrollbackBytes: hello.scrollbackBytes,
    type: (text) => socket.send(Buffer.from(text)),
    untilShown: (text) => untilShown(text),
    shell: async (command) => {
      const from = screen.length
      // The marks are put together by the shell, so that the echo of the command is not taken for its answer.
      await socket.send(Buffer.from(`echo a''nswer:; ${command}; echo e''nd:$?\n`))
      await untilShown(/end:\d+/, from)
      const shown = screen.slice(from).replaceAll('\r', '')
      return shown.slice(shown.indexOf('answer:\n') + 'answer:\n'.length, shown.search(/end:\d+/)).trimEnd()
    },
    ended,
    [Symbol.dispose]: () => socket.close(),
  }
}

interface Notice {
  readonly kind: string
  readonly mode: 'read' | 'write'
  readonly text: string
  readonly scrollbackBytes: number
}

function parseNotice(text: string): Notice {
  const value: unknown = JSON.parse(text)
  assert.ok(typeof value === 'object' && value !== null, 'A notice is an object.')
  const fields = new Map<string, unknown>(Object.entries(value))
  return {
    kind: String(fields.get('kind')),
    mode: fields.get('mode') === 'write' ? 'write' : 'read',
    text: textOf(fields.get('text')),
    scrollbackBytes: Number(fields.get('scrollbackBytes') ?? 0),
  }
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
