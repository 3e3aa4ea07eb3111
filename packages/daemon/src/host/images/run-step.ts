/** Runs one command of a build: in its own directory, with the caller's time-out and signal. */
import { execFile } from 'node:child_process'

export interface StepOptions {
  readonly timeoutMs: number
  readonly signal: AbortSignal
  readonly cwd: string
}

/** Runs a command and gives what it printed; rejects when it ends with another code than 0. */
export function runStep(argv: readonly string[], options: StepOptions): Promise<string> {
  const [program = '', ...rest] = argv
  return new Promise((resolve, reject) => {
    execFile(
      program,
      rest,
      {
        cwd: options.cwd,
        timeout: options.timeoutMs,
        signal: options.signal,
        maxBuffer: 16 * 1024 * 1024,
        env: { ...process.env, LC_ALL: 'C' },
      },
      (error, stdout, stderr) =>
        error === null
          ? resolve(stdout)
          : reject(new Error(`${argv.join(' ')}: ${stderr}`, { cause: error })),
    )
  })
}
