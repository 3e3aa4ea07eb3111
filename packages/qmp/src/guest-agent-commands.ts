/**
 * The guest agent's commands that we use: their arguments and the shape of their answers.
 *
 * Facts from QEMU's guest agent protocol reference (interop/qemu-ga-ref), 7.2 to 10.0. Bytes travel as
 * base64, and times as nanoseconds since 1970, which a number holds to about 256 ns.
 */
import {
  arrayOf,
  boolean,
  integer,
  nothing,
  object,
  oneOf,
  optional,
  type ShapeOf,
  string,
} from './guest-agent-shapes.ts'

/** The arguments of each command; undefined where it has none. */
export interface AgentArguments {
  readonly 'guest-ping': undefined
  readonly 'guest-info': undefined
  readonly 'guest-get-osinfo': undefined
  readonly 'guest-get-host-name': undefined
  readonly 'guest-network-get-interfaces': undefined
  readonly 'guest-get-time': undefined
  /** Without a time the guest reads its hardware clock. */
  readonly 'guest-set-time': { readonly time?: number } | undefined
  readonly 'guest-shutdown': { readonly mode?: 'powerdown' | 'reboot' | 'halt' } | undefined
  readonly 'guest-exec': {
    readonly path: string
    readonly arg?: readonly string[]
    readonly env?: readonly string[]
    readonly 'input-data'?: string
    /** Words other than true and false need an agent of 8.0 or newer. */
    readonly 'capture-output'?: boolean | 'none' | 'stdout' | 'stderr' | 'separated' | 'merged'
  }
  readonly 'guest-exec-status': { readonly pid: number }
  readonly 'guest-get-vcpus': undefined
  readonly 'guest-set-vcpus': {
    readonly vcpus: readonly { readonly 'logical-id': number; readonly online: boolean }[]
  }
  readonly 'guest-fsfreeze-status': undefined
  readonly 'guest-fsfreeze-freeze': undefined
  readonly 'guest-fsfreeze-freeze-list': { readonly mountpoints?: readonly string[] } | undefined
  readonly 'guest-fsfreeze-thaw': undefined
  readonly 'guest-file-open': { readonly path: string; readonly mode?: string }
  readonly 'guest-file-close': { readonly handle: number }
  readonly 'guest-file-read': { readonly handle: number; readonly count?: number }
  readonly 'guest-file-write': {
    readonly handle: number
    readonly 'buf-b64': string
    readonly count?: number
  }
  readonly 'guest-file-seek': {
    readonly handle: number
    readonly offset: number
    readonly whence: 'set' | 'cur' | 'end'
  }
  readonly 'guest-file-flush': { readonly handle: number }
}

/** A command of the guest agent that is typed here. */
export type AgentCommandName = keyof AgentArguments

/** The shape of each command's answer. */
export const agentReturns = {
  'guest-ping': nothing,
  'guest-info': object({
    version: string,
    supported_commands: arrayOf(
      object({ name: string, enabled: boolean, 'success-response': optional(boolean) }),
    ),
  }),
  'guest-get-osinfo': object({
    'kernel-release': optional(string),
    'kernel-version': optional(string),
    machine: optional(string),
    id: optional(string),
    name: optional(string),
    'pretty-name': optional(string),
    version: optional(string),
    'version-id': optional(string),
    variant: optional(string),
    'variant-id': optional(string),
  }),
  'guest-get-host-name': object({ 'host-name': string }),
  'guest-network-get-interfaces': arrayOf(
    object({
      name: string,
      'hardware-address': optional(string),
      'ip-addresses': optional(
        arrayOf(object({ 'ip-address': string, 'ip-address-type': oneOf('ipv4', 'ipv6'), prefix: integer })),
      ),
      statistics: optional(
        object({
          'rx-bytes': integer,
          'rx-packets': integer,
          'rx-errs': integer,
          'rx-dropped': integer,
          'tx-bytes': integer,
          'tx-packets': integer,
          'tx-errs': integer,
          'tx-dropped': integer,
        }),
      ),
    }),
  ),
  'guest-get-time': integer,
  'guest-set-time': nothing,
  'guest-shutdown': nothing,
  'guest-exec': object({ pid: integer }),
  'guest-exec-status': object({
    exited: boolean,
    exitcode: optional(integer),
    signal: optional(integer),
    'out-data': optional(string),
    'err-data': optional(string),
    'out-truncated': optional(boolean),
    'err-truncated': optional(boolean),
  }),
  'guest-get-vcpus': arrayOf(
    object({ 'logical-id': integer, online: boolean, 'can-offline': optional(boolean) }),
  ),
  'guest-set-vcpus': integer,
  'guest-fsfreeze-status': oneOf('thawed', 'frozen'),
  'guest-fsfreeze-freeze': integer,
  'guest-fsfreeze-freeze-list': integer,
  'guest-fsfreeze-thaw': integer,
  'guest-file-open': integer,
  'guest-file-close': nothing,
  'guest-file-read': object({ count: integer, 'buf-b64': string, eof: boolean }),
  'guest-file-write': object({ count: integer, eof: boolean }),
  'guest-file-seek': object({ position: integer, eof: boolean }),
  'guest-file-flush': nothing,
} as const

/** What a command answers, once checked. */
export type AgentReturn<C extends AgentCommandName> = ShapeOf<(typeof agentReturns)[C]>

/** Commands that answer only when they are refused. */
export const silentAgentCommands: ReadonlySet<string> = new Set(['guest-shutdown'])
