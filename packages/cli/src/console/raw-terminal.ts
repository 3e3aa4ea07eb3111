/**
 * The terminal in raw mode, so that every key goes to the guest; given back on every way out of the process.
 *
 * Invariant: once disposed of, or at exit, the terminal is in its own mode, shows its own screen and its cursor, whatever the guest
 * had switched on.
 */
import type { ReadStream } from 'node:tty'

/** Leaves the other screen (1047, since 1049 would also move the cursor of a terminal that is not on it), shows the cursor, ends mouse reports, bracketed paste and colours. */
const forgetGuestModes = '\x1b[?1047l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[0m'

/** Puts a terminal into raw mode until it is disposed of; a stdin that is no terminal is left as it is. */
export class RawTerminal implements Disposable {
  readonly #stdin: ReadStream
  readonly #restore: () => void
  #raw = false

  constructor(stdin: ReadStream) {
    this.#stdin = stdin
    this.#restore = () => this[Symbol.dispose]()
    if (!stdin.isTTY) return
    process.once('exit', this.#restore)
    stdin.setRawMode(true)
    this.#raw = true
  }

  [Symbol.dispose](): void {
    if (!this.#raw) return
    this.#raw = false
    process.off('exit', this.#restore)
    this.#stdin.setRawMode(false)
    if (process.stdout.isTTY) process.stdout.write(forgetGuestModes)
  }
}
