/**
 * Where a command prints: results on stdout in the format that was asked for, messages and progress on stderr.
 *
 * Invariant: with `json` and `yaml`, stdout holds one document and nothing else.
 */
import type { Column, Properties } from './table.ts'

/** How results are printed. */
export const formats = ['table', 'json', 'yaml'] as const
export type Format = (typeof formats)[number]

/** A stream to print on, as far as this needs to know it. */
export interface Sink {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string | Uint8Array): boolean
}

/** How a command wants to print. */
export interface OutputOptions {
  readonly format: Format
  readonly quiet: boolean
  readonly color: boolean
  readonly stdout: Sink
  readonly stderr: Sink
}

/** Prints for one command. */
export class Output {
  readonly format: Format
  readonly quiet: boolean
  readonly stdout: Sink
  readonly stderr: Sink
  readonly #color: boolean

  constructor(options: OutputOptions) {
    this.format = options.format
    this.quiet = options.quiet
    this.stdout = options.stdout
    this.stderr = options.stderr
    this.#color = options.color
  }

  /** Prints a value: as JSON or YAML of the API, or as `people` draws it. */
  async result(value: unknown, people: () => string | Promise<string>): Promise<void> {
    switch (this.format) {
      case 'json':
        this.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`)
        return
      case 'yaml': {
        const { stringify } = await import('yaml')
        this.stdout.write(stringify(value))
        return
      }
      case 'table':
        this.stdout.write(await people())
    }
  }

  /** Prints rows as a table, or as an array of the API's objects. */
  rows<Row>(rows: readonly Row[], columns: readonly Column<Row>[], none: string): Promise<void> {
    return this.result(rows, async () => {
      if (rows.length === 0) {
        this.message(none)
        return ''
      }
      const { formatTable } = await import('./table.ts')
      return formatTable(rows, columns, {
        // A terminal that does not know its width says 0.
        columns: this.stdout.isTTY ? this.stdout.columns || undefined : undefined,
        bold: (text) => this.bold(text),
      })
    })
  }

  /** Prints one thing as names and values, or as the API's object. */
  properties(value: unknown, properties: () => Properties | Promise<Properties>): Promise<void> {
    return this.result(value, async () => {
      const { formatProperties } = await import('./table.ts')
      return formatProperties(await properties(), (text) => this.bold(text))
    })
  }

  /** Prints what the command did, for people who watch; after a result in JSON nobody needs it, but it does no harm. */
  message(sentence: string): void {
    if (!this.quiet) this.stderr.write(`${sentence}\n`)
  }

  /** For headers on stdout. */
  bold(text: string): string {
    return this.#color && this.stdout.isTTY ? `\x1b[1m${text}\x1b[0m` : text
  }

  /** For what matters less, on stderr. */
  grey(text: string): string {
    return this.#color && this.stderr.isTTY ? `\x1b[90m${text}\x1b[0m` : text
  }
}
