/**
 * The introspection files of specs/qmp as typed values. Names of types are QEMU's anonymous ones.
 *
 * The shape is that of query-qmp-schema (QEMU: docs/devel/qapi-code-gen, "Client JSON Protocol
 * introspection").
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** One named part of an object; an absent `default` means that it is required, null that it is optional. */
export interface Member {
  readonly name: string
  readonly type: string
  readonly default?: null
  readonly features?: readonly string[]
}

/** What query-qmp-schema calls a SchemaInfo, by its meta-type. */
export type Entity = { readonly name: string; readonly features?: readonly string[] } & (
  | { readonly 'meta-type': 'command'; readonly 'arg-type': string; readonly 'ret-type': string }
  | { readonly 'meta-type': 'event'; readonly 'arg-type': string }
  | { readonly 'meta-type': 'builtin'; readonly 'json-type': string }
  | { readonly 'meta-type': 'array'; readonly 'element-type': string }
  | {
      readonly 'meta-type': 'enum'
      readonly members: readonly { readonly name: string; readonly features?: readonly string[] }[]
    }
  | { readonly 'meta-type': 'alternate'; readonly members: readonly { readonly type: string }[] }
  | {
      readonly 'meta-type': 'object'
      readonly members: readonly Member[]
      readonly tag?: string
      readonly variants?: readonly { readonly case: string; readonly type: string }[]
    }
)

/** An entity of one meta-type. */
export type EntityOf<Kind extends Entity['meta-type']> = Extract<Entity, { 'meta-type': Kind }>

/** What one QEMU version said of itself. */
export interface Introspection {
  /** Major and minor, such as `7.2`. */
  readonly version: string
  readonly commands: ReadonlyMap<string, EntityOf<'command'>>
  readonly events: ReadonlyMap<string, EntityOf<'event'>>
  /** All other entities, by their anonymous name. */
  readonly types: ReadonlyMap<string, Entity>
}

/** Says whether a parsed JSON value is an object with named members. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Reads every MAJOR.MINOR.json of a folder, the oldest version first. */
export function readIntrospections(folder: string): readonly Introspection[] {
  return readdirSync(folder)
    .filter((name) => /^\d+\.\d+\.json$/.test(name))
    .map((name) => readIntrospection(join(folder, name), name.replace('.json', '')))
    .toSorted((a, b) => a.version.localeCompare(b.version, 'en', { numeric: true }))
}

function readIntrospection(file: string, version: string): Introspection {
  const parsed: unknown = JSON.parse(readFileSync(file, 'utf8'))
  if (!isRecord(parsed) || !Array.isArray(parsed['schema'])) {
    throw new Error(`${file} holds no introspection result, so nothing can be generated from it.`)
  }
  // The protocol edge: QEMU's own description of its description.
  const schema = parsed['schema'] as readonly Entity[]
  const commands = new Map<string, EntityOf<'command'>>()
  const events = new Map<string, EntityOf<'event'>>()
  const types = new Map<string, Entity>()
  for (const entity of schema) {
    if (entity['meta-type'] === 'command') commands.set(entity.name, entity)
    else if (entity['meta-type'] === 'event') events.set(entity.name, entity)
    else types.set(entity.name, entity)
  }
  return { version, commands, events, types }
}
