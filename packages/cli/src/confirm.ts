/** A question before what cannot be undone; asked only where a person can answer it. */
import type { Context } from './context.ts'

/** Whether to go on: yes with `--yes`, without a terminal, or when the person types y. */
export async function confirm(context: Context, question: string): Promise<boolean> {
  if (context.has('yes') || !process.stdin.isTTY || !process.stderr.isTTY) return true
  const { createInterface } = await import('node:readline/promises')
  const asking = createInterface({ input: process.stdin, output: process.stderr })
  // In raw mode Ctrl-C is a key, so that readline has to say it.
  asking.once('SIGINT', () => process.kill(process.pid, 'SIGINT'))
  try {
    const answer = await asking.question(`${question} [y/N] `, { signal: context.signal })
    if (/^y(es)?$/i.test(answer.trim())) return true
    context.output.message('Nothing was done.')
    return false
  } finally {
    asking.close()
  }
}
