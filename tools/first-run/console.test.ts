import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { attach, type ConsoleSocket, hasLoginPrompt, showUntilLogin } from './console.ts'

/** A console whose guest says `lines`, one after the other, and then nothing until it is closed. */
function guestThatSays(lines: readonly string[]): ConsoleSocket & { readonly typed: string[] } {
  const closed = Promise.withResolvers<void>()
  const typed: string[] = []
  async function* messages() {
    for (const line of lines) {
      await sleep(1)
      yield { kind: 'bytes', bytes: Buffer.from(line) }
    }
    await closed.promise
  }
  return {
    typed,
    messages,
    close: closed.resolve,
    send: async (data) => {
      typed.push(Buffer.from(data).toString())
    },
  }
}

function collect(): { readonly text: () => string; readonly write: (bytes: Uint8Array) => void } {
  const chunks: Uint8Array[] = []
  return { text: () => Buffer.concat(chunks).toString(), write: (bytes) => void chunks.push(bytes) }
}

test('the console is shown up to the login prompt, also when that comes in pieces', async () => {
  const seen = collect()
  const socket = guestThatSays(['Linux boots\n', 'demo lo', 'gin: root (automatic)\n', 'root@demo:~# '])

  const end = await showUntilLogin(socket, { write: seen.write, timeoutMs: 5_000 })

  assert.equal(end, 'login')
  assert.equal(seen.text(), 'Linux boots\ndemo login: root (automatic)\nroot@demo:~# ')
})

test('a guest that never asks to log in is given up', async () => {
  const end = await showUntilLogin(guestThatSays(['Linux boots\n']), { write: () => {}, timeoutMs: 50 })

  assert.equal(end, 'timeout')
})

test('a login prompt begins a line', () => {
  assert.equal(hasLoginPrompt('\r\ndebian-13 login: '), true)
  assert.equal(hasLoginPrompt('systemd-logind: no login: here'), false)
})

/** What attach needs of a terminal. */
class FakeTerminal extends PassThrough {
  isRaw = false
  setRawMode(mode: boolean): this {
    this.isRaw = mode
    return this
  }
}

test('keys go to the guest until Ctrl-], and then the terminal is as it was', async () => {
  const terminal = new FakeTerminal()
  const socket = guestThatSays([])

  const ended = attach(socket, { input: terminal, write: () => {} })
  assert.equal(terminal.isRaw, true)
  terminal.write('ls\r')
  await sleep(5)
  terminal.write('exit\x1dnot for the guest')

  assert.equal(await ended, 'detached')
  assert.deepEqual(socket.typed, ['ls\r', 'exit'])
  assert.equal(terminal.isRaw, false)
})
