/**
 * The messages of QMP as typed values: greeting, event, refusal.
 *
 * Facts from QEMU's docs/interop/qmp-spec. Their contents have the shapes that QEMU's introspection
 * states; only what this package itself reads is checked.
 */
import { QmpError, QmpProtocolError } from './errors.ts'
import { introspectedVersions, versionsOfCommand } from './generated/command-versions.ts'
import type { Commands } from './generated/commands.ts'
import type { Events } from './generated/events.ts'
import { isJsonObject, type JsonObject } from './json-line.ts'

/** A command that QEMU knows, in a version that we have introspected. */
export type CommandName = keyof Commands
/** The arguments object of a command. */
export type CommandArguments<C extends CommandName> = Commands[C]['arguments']
/** What a command answers. */
export type CommandReturn<C extends CommandName> = Commands[C]['returns']

/** An event that QEMU sends, in a version that we have introspected. */
export type EventName = keyof Events
/** An event as it is given to a listener; `timestampMs` is QEMU's clock in milliseconds since 1970. */
export type QmpEvent<E extends EventName = EventName> = {
  [Name in E]: { readonly event: Name; readonly data: Events[Name]; readonly timestampMs: number }
}[E]

/** QEMU's version as it said in its greeting. */
export interface QemuVersion {
  readonly major: number
  readonly minor: number
  readonly micro: number
  /** The distribution's own version, such as `Debian 1:7.2+dfsg-7`; may be empty. */
  readonly package: string
}

/** A NUL or half a surrogate pair, as JSON.stringify writes it. */
const unsendable = /(?:^|[^\\])(?:\\\\)*\\u(?:0000|d[89a-f][0-9a-f]{2})/

/**
 * A command as JSON without its id and closing brace. Throws QmpError for text that QEMU's JSON reader
 * rejects as a whole line, whose error would carry no id and so reach nobody.
 */
export function commandText(command: string, args: object | undefined): string {
  const text = JSON.stringify({ execute: command, arguments: args })
  if (unsendable.test(text)) {
    const desc = 'an argument holds a NUL or half a surrogate pair, which QMP cannot carry'
    throw new QmpError({ command, class: 'GenericError', desc })
  }
  return text.slice(0, -1)
}

/** Reads QEMU's version from a greeting; throws QmpProtocolError when there is none. */
export function parseGreeting(message: JsonObject): QemuVersion {
  const greeting = message['QMP']
  const version = isJsonObject(greeting) ? greeting['version'] : undefined
  const qemu = isJsonObject(version) ? version['qemu'] : undefined
  if (!isJsonObject(version) || !isJsonObject(qemu)) {
    throw new QmpProtocolError('the greeting has no version, so this is no QMP server')
  }
  const { major, minor, micro } = qemu
  if (typeof major !== 'number' || typeof minor !== 'number' || typeof micro !== 'number') {
    throw new QmpProtocolError('the greeting has no version, so this is no QMP server')
  }
  const packaging = version['package']
  return { major, minor, micro, package: typeof packaging === 'string' ? packaging.trim() : '' }
}

/** Reads an event; throws QmpProtocolError when it has no name. */
export function parseEvent(message: JsonObject): QmpEvent {
  const { event, data, timestamp } = message
  if (typeof event !== 'string')
    throw new QmpProtocolError('an event has no name, so the stream cannot be followed')
  const seconds = isJsonObject(timestamp) ? Number(timestamp['seconds']) : -1
  const microseconds = isJsonObject(timestamp) ? Number(timestamp['microseconds']) : 0
  const timestampMs = seconds < 0 ? Date.now() : seconds * 1000 + Math.floor(microseconds / 1000)
  // The protocol edge: a name newer than our introspection reaches only '*' listeners.
  return { event, data: isJsonObject(data) ? data : {}, timestampMs } as QmpEvent
}

/** Makes the error of a refused command; an unknown command is explained by the versions that have it. */
export function parseRefusal(error: unknown, command: string, version: QemuVersion | undefined): QmpError {
  const { class: errorClass, desc } = isJsonObject(error) ? error : {}
  const hint = errorClass === 'CommandNotFound' ? missingCommandHint(command, version) : undefined
  return new QmpError({
    command,
    class: typeof errorClass === 'string' ? errorClass : 'GenericError',
    desc: typeof desc === 'string' ? desc : 'no description was given',
    ...(hint === undefined ? {} : { hint }),
  })
}

function missingCommandHint(command: string, version: QemuVersion | undefined): string | undefined {
  const versions = versionsOfCommand.get(command)
  if (versions === undefined || version === undefined) return undefined
  const running = `this is QEMU ${version.major}.${version.minor}.${version.micro}`
  return `${running}; of QEMU ${introspectedVersions.join(' and ')} only ${versions.join(' and ')} has it`
}
