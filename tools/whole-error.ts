/**
 * An error in words with every error that it holds: causes, those of an AggregateError, both of a SuppressedError.
 *
 * `inspect` shows neither error of a SuppressedError, and between a test process and the runner only the outermost error keeps
 * what it holds. So the words are made where the errors still are, and become the stack of one plain error.
 */
import { inspect } from 'node:util'

const shownDepth = 4
const holding = ['cause', 'errors', 'error', 'suppressed']

/** In a failed test's error, puts an error with everything in its stack in the place of one that holds others. */
export function tellWholeError(failure: Error): void {
  const thrown = failure.cause
  if (!(thrown instanceof Error) || held(thrown).length === 0) return
  const told = new Error(thrown.message)
  told.name = thrown.name
  told.stack = describe(thrown, new Set())
  failure.cause = told
}

/** What an error holds, each with the word for it. */
function held(error: Error): readonly (readonly [label: string, held: unknown])[] {
  const property = (name: string): unknown => Object.getOwnPropertyDescriptor(error, name)?.value
  const errors = property('errors')
  return [
    ...(property('suppressed') === undefined
      ? []
      : ([
          ['thrown first', property('suppressed')],
          ['thrown while that was handled', property('error')],
        ] as const)),
    ...(Array.isArray(errors)
      ? errors.map((one: unknown, index) => [`${index + 1} of ${errors.length}`, one] as const)
      : []),
    ...(property('cause') === undefined ? [] : ([['cause', property('cause')]] as const)),
  ]
}

function describe(error: unknown, seen: Set<unknown>): string {
  if (!(error instanceof Error)) return inspect(error, { depth: shownDepth })
  if (seen.has(error)) return `${error.name}: ${error.message} (told above)`
  seen.add(error)
  const stack = error.stack ?? ''
  const lines = [stack.includes(error.message) ? stack : `${error.name}: ${error.message}\n${stack}`]
  const rest = Object.fromEntries(Object.entries(error).filter(([name]) => !holding.includes(name)))
  if (Object.keys(rest).length > 0) lines.push(indent(inspect(rest, { depth: shownDepth })))
  for (const [label, each] of held(error)) lines.push(indent(`[${label}] ${describe(each, seen)}`))
  return lines.join('\n')
}

function indent(text: string): string {
  return text.replaceAll(/^(?=.)/gm, '  ')
}
