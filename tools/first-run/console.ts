/**
 * The guest's serial console on this terminal, or, without one, its text up to the login prompt.
 *
 * Ctrl-] leaves the console, as in telnet and virsh; every other key goes to the guest. The terminal is given back as it was,
 * whatever ends the console.
 */
import type { Readable } from 'node:stream'
import { endpoints } from '@kvasir/contract'
import { type Client, ConsoleScrollback } from '@kvasir/sdk'

/** Ctrl-] as a terminal sends it. */
const detachByte = 0x1d
const maxTailCharacters = 4096
/** After the login prompt a guest may say a little more, such as its shell's prompt. */
const quietMs = 400

/** How reading a console came to its end. */
export type ConsoleEnd = 'login' | 'detached' | 'closed' | 'timeout'

/** What is needed of a console's connection. */
export interface ConsoleSocket {
  send(data: Uint8Array | string): Promise<void>
  messages(): AsyncIterator<
    { readonly kind: string; readonly bytes?: Uint8Array; readonly text?: string },
    unknown,
    void
  >
  close(): void
}

/** A terminal to read keys from. */
export type Keyboard = Readable & { setRawMode(mode: boolean): unknown }

/** Opens the serial console of a VM. */
export async function openConsole(
  client: Client,
  { name, mode }: { name: string; mode: 'read' | 'write' },
): Promise<ConsoleSocket> {
  const { ticket, url } = await client.call(endpoints.consoleTicket, { params: { name }, body: { mode } })
  return client.openStream(url, { ticket })
}

/** Writes the console until the guest asks to log in, then closes it. */
export async function showUntilLogin(
  socket: ConsoleSocket,
  { write, timeoutMs }: { write: (bytes: Uint8Array) => void; timeoutMs: number },
): Promise<ConsoleEnd> {
  let tail = ''
  let seen = false
  let end: ConsoleEnd = 'closed'
  const close = (why: ConsoleEnd) => {
    end = why
    socket.close()
  }
  let timer = setTimeout(() => close('timeout'), timeoutMs)
  try {
    const messages = socket.messages()
    for (let next = await messages.next(); next.done !== true; next = await messages.next()) {
      if (next.value.bytes === undefined) continue
      write(next.value.bytes)
      tail = (tail + Buffer.from(next.value.bytes).toString('latin1')).slice(-maxTailCharacters)
      seen ||= hasLoginPrompt(tail)
      if (!seen) continue
      clearTimeout(timer)
      timer = setTimeout(() => close('login'), quietMs)
    }
    return end === 'closed' && seen ? 'login' : end
  } finally {
    clearTimeout(timer)
    socket.close()
  }
}

/** Whether a getty, or the tiny guest's shell, has asked who is there. */
export function hasLoginPrompt(text: string): boolean {
  return /^[A-Za-z0-9._-]+ login:/m.test(text)
}

/** Connects the terminal to the console until Ctrl-] or until the console ends. */
export async function attach(
  socket: ConsoleSocket,
  { input, write }: { input: Keyboard; write: (bytes: Uint8Array) => void },
): Promise<ConsoleEnd> {
  let end: ConsoleEnd = 'closed'
  const onKeys = (keys: Buffer) => {
    const stopAt = keys.indexOf(detachByte)
    const typed = stopAt === -1 ? keys : keys.subarray(0, stopAt)
    if (typed.length > 0) void socket.send(typed).catch(() => socket.close())
    if (stopAt === -1) return
    end = 'detached'
    socket.close()
  }
  input.setRawMode(true)
  input.on('data', onKeys)
  input.resume()
  try {
    const messages = socket.messages()
    const scrollback = new ConsoleScrollback()
    for (let next = await messages.next(); next.done !== true; next = await messages.next()) {
      const { bytes, text } = next.value
      if (bytes !== undefined) write(scrollback.show(bytes))
      if (text !== undefined) scrollback.noteText(text)
    }
    return end
  } finally {
    input.off('data', onKeys)
    input.pause()
    input.setRawMode(false)
  }
}
