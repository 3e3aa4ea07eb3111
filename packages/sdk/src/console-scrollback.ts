/**
 * What a console said before somebody came to watch, made safe to show again: questions to a terminal, such as where its cursor is, are
 * left out. The terminal that they were meant for has answered; another answer would be typed into the guest.
 *
 * Invariant: what is said live passes as it is.
 */

/** Device status and attributes (CSI n, CSI c), colours asked for (OSC ?), terminfo asked for (DCS + q), and the old ESC Z. */
// oxlint-disable-next-line no-control-regex -- control sequences are what it is about
const questions = /\x1b(?:\[[?>=]?[0-9;]*[nc]|\][0-9;]*;\?(?:\x07|\x1b\\)|P\+q[0-9A-Fa-f;]*\x1b\\|Z)/g

/** Gives the bytes of a console to show. The first text message, `hello`, says how many of them are scrollback. */
export class ConsoleScrollback {
  #left = 0
  #held: Uint8Array[] = []

  /** Takes a text message; only `hello` means something here. */
  noteText(text: string): void {
    try {
      const message: unknown = JSON.parse(text)
      if (typeof message !== 'object' || message === null || !('scrollbackBytes' in message)) return
      if (typeof message.scrollbackBytes === 'number') this.#left = message.scrollbackBytes
    } catch {
      // Words of a newer daemon.
    }
  }

  /** What to show of these bytes; scrollback is held until all of it is there. */
  show(bytes: Uint8Array): Uint8Array {
    if (this.#left === 0) return bytes
    const old = bytes.subarray(0, this.#left)
    this.#left -= old.length
    this.#held.push(old)
    if (this.#left > 0) return new Uint8Array()
    const text = Buffer.concat(this.#held).toString('latin1').replace(questions, '')
    this.#held = []
    return Buffer.concat([Buffer.from(text, 'latin1'), bytes.subarray(old.length)])
  }
}
