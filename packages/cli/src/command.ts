/**
 * What a command is: a row of a table with its arguments and flags, and the code behind it, loaded when it is called.
 *
 * Usage texts, parsing, suggestions and shell completion are all made from these rows.
 */
import type { Context } from './context.ts'

/** What completion offers for an argument or a flag's value. */
export type Completes = 'vm' | 'image' | 'pool' | 'volume' | 'network' | 'job' | 'file' | readonly string[]

/** A positional argument. */
export interface Argument {
  readonly name: string
  readonly optional?: boolean
  /** Takes all that is left; only the last argument may. */
  readonly rest?: boolean
  readonly completes?: Completes
}

/** A flag. Without `value` it is a switch. */
export interface Flag {
  readonly summary: string
  /** What the value is called in the usage text. */
  readonly value?: string
  readonly short?: string
  readonly multiple?: boolean
  readonly completes?: Completes
  /** Values that completion does not offer are right as well; the summary says which. */
  readonly open?: boolean
}

/** What a command does. Its result is the exit code, 0 when it gives none. */
export type Action = (context: Context) => Promise<number | undefined>

/** A row: one verb of a noun. */
export interface Command {
  readonly summary: string
  readonly arguments?: readonly Argument[]
  readonly flags?: Readonly<Record<string, Flag>>
  /** Everything after `--`, or after the first argument that is unknown, goes to another program untouched. */
  readonly passThrough?: boolean
  /** Command lines that work as they are written, without `kvasir`. */
  readonly examples?: readonly string[]
  readonly load: () => Promise<Action>
}

/** The verbs of a noun, or of a pair of words such as `vm disk`. */
export type Verbs = Readonly<Record<string, Command>>

/** The flags that every command takes. */
export const globalFlags = {
  output: {
    summary: 'How results are printed.',
    value: 'FORMAT',
    short: 'o',
    completes: ['table', 'json', 'yaml'],
  },
  quiet: { summary: 'Print no messages and no progress.', short: 'q' },
  'no-color': { summary: 'Print without colours.' },
  url: {
    summary: 'Where the daemon listens; else KVASIR_URL, else the socket in KVASIR_RUNTIME_DIR.',
    value: 'URL',
  },
  help: { summary: 'Say how the command is used.', short: 'h' },
} as const satisfies Readonly<Record<string, Flag>>
