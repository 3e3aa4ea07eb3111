/** Progress of a long action: a bar on a terminal, a line per step elsewhere. */
import type { WriteStream } from 'node:tty'

const barWidth = 24

/** Shows one long action at a time. */
export interface Progress {
  begin(title: string): Disposable & { update(step: string, fraction: number | undefined): void }
}

/** Progress on a stream; a bar only where it is a terminal. */
export function createProgress(stream: WriteStream): Progress {
  return {
    begin(title) {
      const startedAt = performance.now()
      let last = ''
      stream.write(`${title} ...\n`)
      return {
        update(step, fraction) {
          if (stream.isTTY) stream.write(`\r\x1b[K${bar(fraction ?? 0)} ${step}`)
          else if (step !== last) stream.write(`  ${step}\n`)
          last = step
        },
        [Symbol.dispose]() {
          const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
          stream.write(`${stream.isTTY ? '\r\x1b[K' : ''}  ${seconds} s\n`)
        },
      }
    },
  }
}

function bar(fraction: number): string {
  const filled = Math.round(Math.min(1, Math.max(0, fraction)) * barWidth)
  return `[${'='.repeat(filled)}${' '.repeat(barWidth - filled)}]`
}
