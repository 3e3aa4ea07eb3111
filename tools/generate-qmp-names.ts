/**
 * Names for QEMU's anonymous types, from the command or event and the members by which they are reached.
 *
 *     query-status answers QueryStatusReturn, whose member status is QueryStatusStatus
 *
 * A type that several paths reach is named once, by the shortest path in the oldest version, ties by the
 * alphabet; so a newer introspection adds names and keeps the old ones.
 */
import { isSomewhere, type MergedSchema, type TypeIds } from './generate-qmp-merge.ts'

interface Step {
  readonly ids: TypeIds
  readonly name: string
  /** What the names of its parts begin with. */
  readonly prefix: string
}

/** Gives the name of each object, enum and alternate by the key of its completed ids. */
export function nameTypes(schema: MergedSchema): ReadonlyMap<string, string> {
  const names = new Map<string, string>()
  const taken = new Set<string>()
  for (const version of schema.versions.keys()) {
    const queue = firstSteps(schema).filter((step) => step.ids[version] !== undefined)
    const seen = new Set<string>()
    for (const step of queue) {
      const ids = schema.complete(step.ids)
      const key = typeKey(ids)
      if (seen.has(key)) continue
      seen.add(key)
      const prefix = nameOne({ ...step, ids }, { schema, names, taken })
      queue.push(
        ...nextSteps({ ...step, ids, prefix }, schema).filter((next) => next.ids[version] !== undefined),
      )
    }
  }
  return names
}

/** The key under which a type's name is kept. */
export function typeKey(ids: TypeIds): string {
  return ids.map((id) => id ?? '').join('|')
}

/** `blockdev-add`, `BLOCK_JOB_READY` and `x-colo` in the form of a type's name. */
export function pascalCase(name: string): string {
  const words = name.split(/[^A-Za-z0-9]+/).filter((word) => word !== '')
  return words.map((word) => capitalized(word === word.toUpperCase() ? word.toLowerCase() : word)).join('')
}

function capitalized(word: string): string {
  return word.slice(0, 1).toUpperCase() + word.slice(1)
}

function firstSteps(schema: MergedSchema): Step[] {
  return schema.roots.flatMap((root) => {
    const prefix = pascalCase(root.name)
    const ends = root.kind === 'event' ? ['Event'] : ['Arguments', 'Return']
    return [root.arguments, root.returns]
      .map((ids, index) => ({ ids, name: `${prefix}${ends[index] ?? ''}`, prefix }))
      .filter((step) => isSomewhere(step.ids))
  })
}

/** Names a type that has no name yet, and gives the prefix for its parts. */
function nameOne(
  step: Step,
  { schema, names, taken }: { schema: MergedSchema; names: Map<string, string>; taken: Set<string> },
): string {
  const shape = schema.shape(step.ids)
  const isNamed = shape.kind === 'enum' || shape.kind === 'alternate' || shape.kind === 'object'
  if (!isNamed || names.has(typeKey(step.ids))) return step.prefix
  if (shape.kind === 'object' && shape.members.length === 0) return step.prefix

  let name = step.name
  for (let n = 2; taken.has(name); n++) name = `${step.name}${n}`
  taken.add(name)
  names.set(typeKey(step.ids), name)
  return step.prefix === step.name ? name : step.prefix
}

function nextSteps(step: Step, schema: MergedSchema): readonly Step[] {
  const shape = schema.shape(step.ids)
  const { prefix } = step
  switch (shape.kind) {
    case 'builtin':
    case 'enum':
      return []
    case 'array': {
      const name = step.name.endsWith('Return') ? `${prefix}Item` : `${step.name}Item`
      return [{ ids: shape.element, name, prefix: name }]
    }
    case 'mixed':
      return shape.alternatives.map((ids) => ({ ids, name: step.name, prefix }))
    case 'alternate':
      return shape.branches.map((ids) => ({ ids, name: `${prefix}Value`, prefix }))
    case 'object': {
      const members = shape.members.filter((member) => member.name !== shape.tag)
      const steps = members.map((member) => {
        const name = `${prefix}${pascalCase(member.name)}`
        return { ids: member.types, name, prefix: name }
      })
      const cases = shape.cases.map(({ name: caseName, types }) => {
        const name = `${prefix}For${pascalCase(caseName)}`
        return { ids: types, name, prefix: name }
      })
      return [...steps, ...cases]
    }
  }
}
