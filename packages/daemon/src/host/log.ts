/**
 * The daemon's log, one line an event, written in the form that its reader understands: JSON for programs; `<N>message` for journald,
 * which takes the priority from it (sd-daemon(3)); short lines for a terminal.
 *
 * Writing is synchronous: the last line before a kill is on its way.
 */
import { fstatSync, writeSync } from 'node:fs'
import { styleText } from 'node:util'
import { KvasirError } from '@kvasir/contract'
import { pino } from 'pino'
import type { Log } from '../ports/log.ts'

export const logLevels = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof logLevels)[number]

export type LogForm = 'json' | 'journal' | 'terminal'

export interface LogOptions {
  readonly level: LogLevel
  readonly form: LogForm
  /** Where lines go; standard error unless told. */
  readonly write?: (line: string) => void
}

const STDERR = 2

/** Priorities of syslog(3) by level. */
const priorities = { debug: 7, info: 6, warn: 4, error: 3 } as const satisfies Record<LogLevel, number>
const colours = { debug: 'gray', info: 'green', warn: 'yellow', error: 'red' } as const

/** The form for standard error: journald says in JOURNAL_STREAM which stream is its own (systemd.exec(5)). */
export function logFormFor(environment: Readonly<Record<string, string | undefined>>): LogForm {
  const { dev, ino } = fstatSync(STDERR)
  if (environment['JOURNAL_STREAM'] === `${dev}:${ino}`) return 'journal'
  return process.stderr.isTTY ? 'terminal' : 'json'
}

/** Makes the log. Errors in fields are written with their causes. */
export function createLog(options: LogOptions): Log {
  const write = options.write ?? ((line: string) => writeAll(line))
  if (options.form === 'json') return jsonLog(options.level, write)
  const least = logLevels.indexOf(options.level)
  const format = options.form === 'journal' ? journalLine : terminalLine
  const at = (level: LogLevel) => (fields: Record<string, unknown>, message: string) => {
    if (logLevels.indexOf(level) >= least) write(format(level, message, fields))
  }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

function jsonLog(level: LogLevel, write: (line: string) => void): Log {
  const logger = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), log: plainFields },
    },
    { write },
  )
  return {
    debug: (fields, message) => logger.debug(fields, message),
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
  }
}

function journalLine(level: LogLevel, message: string, fields: Record<string, unknown>): string {
  return `<${priorities[level]}>${oneLine(message)}${fieldText(fields)}\n`
}

function terminalLine(level: LogLevel, message: string, fields: Record<string, unknown>): string {
  const time = new Date().toISOString().slice(11, 19)
  const mark = styleText(colours[level], level.padEnd(5), { validateStream: false })
  return `${styleText('dim', time, { validateStream: false })} ${mark} ${oneLine(message)}${styleText('dim', fieldText(fields), { validateStream: false })}\n`
}

function fieldText(fields: Record<string, unknown>): string {
  return Object.entries(plainFields(fields))
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${valueText(value)}`)
    .join('')
}

function valueText(value: unknown): string {
  if (typeof value === 'string' && /^[\w./:@+-]+$/.test(value)) return value
  return oneLine(JSON.stringify(value) ?? 'undefined')
}

/** A guest's or a user's text must not be able to begin a line of its own. */
function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (character) =>
    character === '\n' ? '\\n' : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

function plainFields(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      value instanceof Error ? plainError(value, 0) : value,
    ]),
  )
}

/** How many causes of an error are followed. */
const MAX_CAUSES = 5

function plainError(error: Error, depth: number): Record<string, unknown> {
  const { cause } = error
  return {
    ...(error instanceof KvasirError ? { code: error.code } : { type: error.name }),
    message: error.message,
    ...(error instanceof KvasirError && Object.keys(error.details).length > 0
      ? { details: error.details }
      : {}),
    ...(error instanceof KvasirError && error.code !== 'internal' ? {} : { stack: error.stack }),
    ...(cause instanceof Error && depth < MAX_CAUSES ? { cause: plainError(cause, depth + 1) } : {}),
  }
}

/** A reader that is gone must not end the daemon. */
function writeAll(line: string): void {
  const bytes = Buffer.from(line)
  try {
    for (let written = 0; written < bytes.length; ) written += writeSync(STDERR, bytes, written)
  } catch {
    // EPIPE, or EAGAIN of a pipe that nobody reads: the line is lost.
  }
}
