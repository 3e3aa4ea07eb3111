/**
 * Failpoints, armed by the environment: `KVASIR_FAILPOINT=NAME:ACTION[,NAME:ACTION...]` with the actions
 *
 *     exit       the daemon is gone at once, as by kill -9
 *     throw      the step fails
 *     delay=MS   the step waits
 *     stop       the daemon is stopped (SIGSTOP) until it is continued or killed
 *
 * `KVASIR_FAILPOINT=@FILE` reads the same text from a file whenever a point is reached, so that a test arms a daemon that runs; no file
 * arms nothing. `KVASIR_FAILPOINT_LOG=FILE` appends the name of every point that is reached; `KVASIR_FAILPOINT_TIMES=FILE` its name and
 * when, in milliseconds of the host's monotonic clock, from which the benchmarks tell where the time of a start goes. Without the
 * three a failpoint does nothing.
 */
import { appendFileSync, readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { KvasirError } from '@kvasir/contract'
import { type FailpointName, type Failpoints, failpointNames } from '../ports/failpoints.ts'

type Action =
  | { readonly kind: 'exit' }
  | { readonly kind: 'throw' }
  | { readonly kind: 'stop' }
  | { readonly kind: 'delay'; readonly ms: number }

/** The longest delay that can be armed. */
const MAX_DELAY_MS = 10 * 60_000

/** Reads what is armed. Throws `bad-request` for a name or an action that does not exist. */
export function createFailpoints(environment: Readonly<Record<string, string | undefined>>): Failpoints {
  const text = environment['KVASIR_FAILPOINT'] ?? ''
  const log = environment['KVASIR_FAILPOINT_LOG']
  const times = environment['KVASIR_FAILPOINT_TIMES']
  const armedIn = text.startsWith('@') ? readArmed(text.slice(1)) : always(parseFailpoints(text))
  if (text === '' && log === undefined && times === undefined) return async () => {}
  return async (name) => {
    if (times !== undefined)
      appendFileSync(times, `${name} ${(Number(process.hrtime.bigint()) / 1e6).toFixed(3)}\n`)
    if (log !== undefined) appendFileSync(log, `${name}\n`)
    const action = armedIn().get(name)
    if (action !== undefined) await act(name, action)
  }
}

type Armed = ReadonlyMap<FailpointName, Action>

function always(armed: Armed): () => Armed {
  return () => armed
}

function readArmed(path: string): () => Armed {
  return () => {
    let text = ''
    try {
      text = readFileSync(path, 'utf8')
    } catch {
      // No file arms nothing.
    }
    return parseFailpoints(text)
  }
}

function parseFailpoints(text: string): Armed {
  const armed = new Map<FailpointName, Action>()
  for (const item of text.split(',').filter((part) => part.trim() !== '')) {
    const [wanted = '', ...rest] = item.trim().split(':')
    const name = failpointNames.find((known) => known === wanted)
    if (name === undefined)
      throw refuse(item, `there is no failpoint ${wanted} (there are ${failpointNames.join(', ')})`)
    const action = parseAction(rest.join(':'))
    if (action === undefined) throw refuse(item, 'the actions are exit, throw, stop and delay=MS')
    armed.set(name, action)
  }
  return armed
}

function parseAction(text: string): Action | undefined {
  if (text === 'exit' || text === 'throw' || text === 'stop') return { kind: text }
  const ms = Number(/^delay=(\d{1,6})$/.exec(text)?.[1] ?? Number.NaN)
  return ms <= MAX_DELAY_MS ? { kind: 'delay', ms } : undefined
}

async function act(name: FailpointName, action: Action): Promise<void> {
  switch (action.kind) {
    case 'exit':
      process.kill(process.pid, 'SIGKILL')
      return
    case 'stop':
      process.kill(process.pid, 'SIGSTOP')
      return
    case 'delay':
      await wait(action.ms)
      return
    case 'throw':
      throw new Error(`The failpoint ${name} is armed, so this step fails.`)
  }
}

function refuse(item: string, why: string): KvasirError {
  return new KvasirError(
    'bad-request',
    `KVASIR_FAILPOINT says ${item}, but ${why}, so the daemon does not start.`,
  )
}
