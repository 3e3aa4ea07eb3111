/** Runs the programs of a task one after the other and says how long each took. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'

/** The checkout. */
export const root = join(import.meta.dirname, '..')

const stepTimeoutMs = 900_000

/** One program of a task, with the words it is shown by. */
export interface Step {
  readonly name: string
  /** The program, looked up on PATH (node_modules/.bin comes first), and its arguments. */
  readonly argv: readonly [string, ...string[]]
}

/** Runs a step with this process's output; resolves to whether it exited with 0. */
async function runStep(step: Step): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>()
  const [program, ...args] = step.argv
  const child = spawn(program, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    timeout: stepTimeoutMs,
  })
  child.on('error', (cause) =>
    reject(new Error(`${program} does not start, so ${step.name} was not done.`, { cause })),
  )
  child.on('close', (code) => resolve(code === 0))
  return promise
}

/** Runs all steps, also after one that did not pass, prints a line for each, and sets the exit code. */
export async function runSteps(steps: readonly Step[]): Promise<void> {
  const failed: string[] = []
  const startedAt = performance.now()
  for (const step of steps) {
    const stepStartedAt = performance.now()
    const passed = await runStep(step)
    if (!passed) failed.push(step.name)
    console.log(
      `${step.name.padEnd(12)} ${passed ? 'passed' : 'FAILED'} ${secondsSince(stepStartedAt).padStart(6)} s`,
    )
  }
  const verdict = failed.length === 0 ? 'all passed' : `${failed.join(', ')} did not pass`
  console.log(`${verdict}, ${secondsSince(startedAt)} s in all`)
  process.exitCode = failed.length === 0 ? 0 : 1
}

function secondsSince(startedAt: number): string {
  return ((performance.now() - startedAt) / 1000).toFixed(1)
}
