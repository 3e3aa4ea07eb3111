/**
 * Several introspections as one: which anonymous type of one version is which of another.
 *
 * A type is identified by a tuple of its anonymous names, one place per version (`TypeIds`). Two names
 * belong together when they are reached by the same path from a command or event that both versions
 * have; the first path found (shortest, then alphabetical) decides.
 *
 * Not here: names for people (generate-qmp-names.ts), TypeScript (generate-qmp-print.ts).
 */
import type { Entity, EntityOf, Introspection, Member } from './generate-qmp-introspection.ts'

/** A type's anonymous name in each version, undefined where it does not exist. */
export type TypeIds = readonly (string | undefined)[]

/** A member of an object, over all versions. */
export interface MergedMember {
  readonly name: string
  readonly types: TypeIds
  readonly optional: boolean
  readonly present: readonly boolean[]
  readonly features: readonly string[]
}

/** An object type over all versions; `tag` and `cases` are there when it is a union. */
export interface MergedObject {
  readonly members: readonly MergedMember[]
  readonly tag: string | undefined
  readonly cases: readonly {
    readonly name: string
    readonly types: TypeIds
    readonly present: readonly boolean[]
  }[]
}

/** A value of an enum over all versions. */
export interface MergedValue {
  readonly name: string
  readonly present: readonly boolean[]
  readonly features: readonly string[]
}

/** A command or event over all versions. */
export interface Root {
  readonly kind: 'command' | 'event'
  readonly name: string
  readonly present: readonly boolean[]
  readonly features: readonly string[]
  readonly arguments: TypeIds
  /** All places undefined for an event. */
  readonly returns: TypeIds
}

/** What a type is; `mixed` when versions disagree about its kind. */
export type Shape =
  | { readonly kind: 'builtin'; readonly json: string }
  | { readonly kind: 'array'; readonly element: TypeIds }
  | { readonly kind: 'enum'; readonly values: readonly MergedValue[] }
  | { readonly kind: 'alternate'; readonly branches: readonly TypeIds[] }
  | ({ readonly kind: 'object' } & MergedObject)
  | { readonly kind: 'mixed'; readonly alternatives: readonly TypeIds[] }

/** Reads types across versions. */
export class MergedSchema {
  readonly versions: readonly string[]
  readonly roots: readonly Root[]
  readonly #introspections: readonly Introspection[]
  readonly #groups = new Map<string, TypeIds>()

  constructor(introspections: readonly Introspection[]) {
    this.#introspections = introspections
    this.versions = introspections.map((introspection) => introspection.version)
    this.roots = [...this.#commandRoots(), ...this.#eventRoots()]
    this.#pair()
  }

  /** The entities behind a type, one place per version. */
  entities(ids: TypeIds): readonly (Entity | undefined)[] {
    return ids.map((id, index) => (id === undefined ? undefined : this.#introspections[index]?.types.get(id)))
  }

  /** Fills the places of versions in which the same type is known from another path. */
  complete(ids: TypeIds): TypeIds {
    const groups = ids.flatMap((id, index) => (id === undefined ? [] : [this.#groups.get(`${index}:${id}`)]))
    const [first] = groups
    return first !== undefined && groups.every((group) => group === first) ? first : ids
  }

  /** What a type is, over all versions that have it. */
  shape(ids: TypeIds): Shape {
    const entities = this.entities(ids)
    const known = entities.filter((entity) => entity !== undefined)
    const [first] = known
    if (first === undefined) throw new Error(`The type ${ids.join('|')} is in no introspection.`)
    if (known.some((entity) => kindOf(entity) !== kindOf(first))) {
      return {
        kind: 'mixed',
        alternatives: ids.map((id, index) => this.#alone(id, index)).filter(isSomewhere),
      }
    }
    switch (first['meta-type']) {
      case 'builtin':
        return { kind: 'builtin', json: first['json-type'] }
      case 'array':
        return { kind: 'array', element: ids.map((_, i) => only('array', entities[i])?.['element-type']) }
      case 'enum':
        return { kind: 'enum', values: mergeValues(entities.map((entity) => only('enum', entity))) }
      case 'alternate':
        return {
          kind: 'alternate',
          branches: mergeBranches(entities.map((entity) => only('alternate', entity))),
        }
      case 'object':
        return { kind: 'object', ...mergeObjects(entities.map((entity) => only('object', entity))) }
      case 'command':
      case 'event':
        throw new Error(`${first.name} is a ${first['meta-type']}, not a type.`)
    }
  }

  /** The types that a type mentions, in order. */
  children(ids: TypeIds): readonly TypeIds[] {
    const shape = this.shape(ids)
    switch (shape.kind) {
      case 'builtin':
      case 'enum':
        return []
      case 'array':
        return [shape.element]
      case 'alternate':
        return shape.branches
      case 'mixed':
        return shape.alternatives
      case 'object':
        return [...shape.members, ...shape.cases].map((part) => part.types)
    }
  }

  #alone(id: string | undefined, index: number): TypeIds {
    return this.versions.map((_, place) => (place === index ? id : undefined))
  }

  #commandRoots(): readonly Root[] {
    return sortedNames(this.#introspections.map((one) => one.commands)).map((name) => {
      const commands = this.#introspections.map((one) => one.commands.get(name))
      return {
        kind: 'command',
        name,
        present: commands.map((command) => command !== undefined),
        features: newestFeatures(commands),
        arguments: commands.map((command) => command?.['arg-type']),
        returns: commands.map((command) => command?.['ret-type']),
      }
    })
  }

  #eventRoots(): readonly Root[] {
    return sortedNames(this.#introspections.map((one) => one.events)).map((name) => {
      const events = this.#introspections.map((one) => one.events.get(name))
      return {
        kind: 'event',
        name,
        present: events.map((event) => event !== undefined),
        features: newestFeatures(events),
        arguments: events.map((event) => event?.['arg-type']),
        returns: events.map(() => undefined),
      }
    })
  }

  #pair(): void {
    const queue = this.roots.flatMap((root) => [root.arguments, root.returns]).filter(isSomewhere)
    const seen = new Set<string>()
    for (const ids of queue) {
      if (seen.has(ids.join('|'))) continue
      seen.add(ids.join('|'))
      const shape = this.shape(ids)
      if (shape.kind === 'object' || shape.kind === 'enum' || shape.kind === 'alternate') this.#join(ids)
      queue.push(...this.children(ids))
    }
  }

  /** Makes the names of one tuple one type, unless a place is taken by another. */
  #join(ids: TypeIds): void {
    const joined: (string | undefined)[] = this.versions.map(() => undefined)
    for (const [index, id] of ids.entries()) {
      const group =
        id === undefined ? undefined : (this.#groups.get(`${index}:${id}`) ?? this.#alone(id, index))
      for (const [place, other] of (group ?? []).entries()) {
        if (other === undefined) continue
        if (joined[place] !== undefined && joined[place] !== other) return
        joined[place] = other
      }
    }
    for (const [index, id] of joined.entries())
      if (id !== undefined) this.#groups.set(`${index}:${id}`, joined)
  }
}

/** True when at least one version has the type. */
export function isSomewhere(ids: TypeIds): boolean {
  return ids.some((id) => id !== undefined)
}

function kindOf(entity: Entity): string {
  return entity['meta-type'] === 'builtin' ? entity['json-type'] : entity['meta-type']
}

function only<Kind extends Entity['meta-type']>(
  kind: Kind,
  entity: Entity | undefined,
): EntityOf<Kind> | undefined {
  // Narrowing by a type parameter is beyond the checker; the comparison is the proof.
  return entity?.['meta-type'] === kind ? (entity as EntityOf<Kind>) : undefined
}

function sortedNames(maps: readonly ReadonlyMap<string, unknown>[]): readonly string[] {
  return [...new Set(maps.flatMap((map) => [...map.keys()]))].toSorted()
}

function namesInOrder(lists: readonly (readonly { readonly name: string }[])[]): readonly string[] {
  return [...new Set(lists.flat().map((part) => part.name))]
}

function newestFeatures(
  parts: readonly ({ readonly features?: readonly string[] } | undefined)[],
): readonly string[] {
  return parts.findLast((part) => part !== undefined)?.features ?? []
}

function mergeValues(enums: readonly (EntityOf<'enum'> | undefined)[]): readonly MergedValue[] {
  return namesInOrder(enums.map((one) => one?.members ?? [])).map((name) => {
    const values = enums.map((one) => one?.members.find((value) => value.name === name))
    return {
      name,
      present: values.map((value, i) => value !== undefined || enums[i] === undefined),
      features: newestFeatures(values),
    }
  })
}

/** Branches have no names: those of the same place in their lists are taken for the same. */
function mergeBranches(alternates: readonly (EntityOf<'alternate'> | undefined)[]): readonly TypeIds[] {
  const count = Math.max(...alternates.map((one) => one?.members.length ?? 0))
  return Array.from({ length: count }, (_, place) => alternates.map((one) => one?.members[place]?.type))
}

function mergeObjects(objects: readonly (EntityOf<'object'> | undefined)[]): MergedObject {
  const members = namesInOrder(objects.map((one) => one?.members ?? [])).map((name): MergedMember => {
    const found = objects.map((one) => one?.members.find((member) => member.name === name))
    return {
      name,
      types: found.map((member) => member?.type),
      optional: found.some((member, i) =>
        member === undefined ? objects[i] !== undefined : isOptional(member),
      ),
      present: found.map((member, i) => member !== undefined || objects[i] === undefined),
      features: newestFeatures(found),
    }
  })
  const caseNames = [...new Set(objects.flatMap((one) => one?.variants ?? []).map((variant) => variant.case))]
  const cases = caseNames.map((name) => {
    const types = objects.map((one) => one?.variants?.find((variant) => variant.case === name)?.type)
    return { name, types, present: types.map((type, i) => type !== undefined || objects[i] === undefined) }
  })
  return { members, tag: objects.findLast((one) => one?.tag !== undefined)?.tag, cases }
}

function isOptional(member: Member): boolean {
  return 'default' in member
}
