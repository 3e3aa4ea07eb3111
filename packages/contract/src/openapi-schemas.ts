/**
 * zod schemas as the components of an OpenAPI document.
 *
 * A schema with an id (`.meta({ id: 'Vm' })`) becomes one component. A schema that a request writes otherwise than an answer shows it
 * (sizes, defaults), itself or in one of its parts, becomes a second one, `VmSpecInput`.
 */
import { z } from 'zod'

/** A JSON value that is an object; what OpenAPI documents are made of. */
export type JsonObject = { readonly [key: string]: unknown }

/** Whether a schema describes what a client writes or what the daemon answers. */
export type Direction = 'input' | 'output'

type Definitions = ReadonlyMap<string, JsonObject>

const reference = /^#\/\$defs\/(.+)$/

/** The named schemas of a document, collected once from every place where a schema is used. */
export class ComponentSchemas {
  readonly #defined: Readonly<Record<Direction, Definitions>>
  readonly #twofold: ReadonlySet<string>

  constructor(uses: readonly { readonly schema: z.ZodType; readonly direction: Direction }[]) {
    const input = new Map<string, JsonObject>()
    const output = new Map<string, JsonObject>()
    for (const { schema, direction } of uses) {
      const definitions = asObject(jsonSchema(schema, direction)['$defs'])
      for (const [id, definition] of Object.entries(definitions)) {
        const { id: _, ...rest } = asObject(definition)
        ;(direction === 'input' ? input : output).set(id, rest)
      }
    }
    this.#defined = { input, output }
    this.#twofold = findTwofold(input, output)
  }

  /** The JSON Schema of a zod schema, its named parts as references to components. */
  schema(schema: z.ZodType, direction: Direction): JsonObject {
    const { $schema: _, $defs: __, ...json } = jsonSchema(schema, direction)
    return asObject(this.#renamed(json, direction))
  }

  /** Every component by name, in alphabetical order. */
  components(): JsonObject {
    const named = new Map<string, unknown>()
    for (const direction of ['output', 'input'] as const) {
      for (const [id, definition] of this.#defined[direction]) {
        named.set(this.#nameOf(id, direction), this.#renamed(definition, direction))
      }
    }
    return Object.fromEntries([...named].toSorted(([a], [b]) => (a < b ? -1 : 1)))
  }

  #nameOf(id: string, direction: Direction): string {
    return direction === 'input' && this.#twofold.has(id) ? `${id}Input` : id
  }

  #renamed(value: unknown, direction: Direction): unknown {
    if (Array.isArray(value)) return value.map((item) => this.#renamed(item, direction))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => {
        const id = key === '$ref' && typeof item === 'string' ? reference.exec(item)?.[1] : undefined
        if (id !== undefined) return [key, `#/components/schemas/${this.#nameOf(id, direction)}`]
        return [key, this.#renamed(item, direction)]
      }),
    )
  }
}

/** The ids whose input and output differ, directly or through a part. */
function findTwofold(input: Definitions, output: Definitions): ReadonlySet<string> {
  const shared = [...input.keys()].filter((id) => output.has(id))
  const twofold = new Set(
    shared.filter((id) => JSON.stringify(input.get(id)) !== JSON.stringify(output.get(id))),
  )
  let size = -1
  while (size !== twofold.size) {
    size = twofold.size
    for (const id of shared) {
      if ([...references(input.get(id))].some((part) => twofold.has(part))) twofold.add(id)
    }
  }
  return twofold
}

function* references(value: unknown): Generator<string> {
  if (typeof value !== 'object' || value === null) return
  for (const [key, item] of Object.entries(value)) {
    const id = key === '$ref' && typeof item === 'string' ? reference.exec(item)?.[1] : undefined
    if (id !== undefined) yield id
    else yield* references(item)
  }
}

function jsonSchema(schema: z.ZodType, direction: Direction): JsonObject {
  return asObject(z.toJSONSchema(schema, { io: direction, target: 'draft-2020-12' }))
}

/** The value as an object; an empty one when it is something else. */
export function asObject(value: unknown): JsonObject {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}
