/** Progress of a job on stderr: one line that is redrawn on a terminal, a new line per step elsewhere. */
import type { Output } from './output.ts'
import { cutTo, printable } from './width.ts'

/** What is shown of a job. */
export interface Progress {
  readonly state: string
  readonly step: string
  readonly progress?: number | undefined
}

const barWidth = 24
const defaultColumns = 80

/** Shows progress until it is disposed of, which leaves a terminal's line empty. */
export class ProgressBar implements Disposable {
  readonly #output: Output
  #lastStep = ''
  #drawn = false

  constructor(output: Output) {
    this.#output = output
  }

  show(at: Progress): void {
    if (this.#output.quiet || at.state !== 'running') return
    if (this.#output.stderr.isTTY) {
      this.#output.stderr.write(`\r\x1b[2K${progressLine(at, this.#output.stderr.columns || defaultColumns)}`)
      this.#drawn = true
      return
    }
    if (at.step !== this.#lastStep) this.#output.stderr.write(`${printable(at.step)}\n`)
    this.#lastStep = at.step
  }

  [Symbol.dispose](): void {
    if (this.#drawn) this.#output.stderr.write('\r\x1b[2K')
    this.#drawn = false
  }
}

/** One line of progress that fits into a width; without a number it has no bar. */
export function progressLine(at: Progress, columns: number): string {
  const step = printable(at.step)
  if (at.progress === undefined) return cutTo(`… ${step}`, columns - 1)
  const share = Math.min(1, Math.max(0, at.progress))
  const full = Math.round(share * barWidth)
  const percent = `${Math.floor(share * 100)}`.padStart(3)
  return cutTo(`[${'#'.repeat(full)}${'-'.repeat(barWidth - full)}] ${percent} % ${step}`, columns - 1)
}
