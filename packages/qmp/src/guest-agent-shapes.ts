/**
 * Checks of what a guest agent answers. The guest is not trusted: an answer of the wrong shape is a
 * protocol error, never a value of a wrong type.
 */
import { QmpProtocolError } from './errors.ts'
import { isJsonObject } from './json-line.ts'

/** Gives a value its type, or throws QmpProtocolError with the place where the shape is wrong. */
export type Shape<T> = (value: unknown, place: string) => T

/** The type that a shape gives. */
export type ShapeOf<S> = S extends Shape<infer T> ? T : never

type MembersOf<Members> = { readonly [Name in keyof Members]: ShapeOf<Members[Name]> }

/** A string. */
export const string: Shape<string> = (value, place) =>
  typeof value === 'string' ? value : wrong(place, 'a string')

/** True or false. */
export const boolean: Shape<boolean> = (value, place) =>
  typeof value === 'boolean' ? value : wrong(place, 'a boolean')

/** An integer; beyond 2^53 its last digits are lost. */
export const integer: Shape<number> = (value, place) =>
  typeof value === 'number' && Number.isInteger(value) ? value : wrong(place, 'an integer')

/** Whatever it is, it is not looked at. */
export const nothing: Shape<void> = () => undefined

/** One of some strings. */
export function oneOf<const T extends string>(...values: readonly T[]): Shape<T> {
  return (value, place) => values.find((known) => known === value) ?? wrong(place, values.join(' or '))
}

/** A value that may be absent. */
export function optional<T>(shape: Shape<T>): Shape<T | undefined> {
  return (value, place) => (value === undefined ? undefined : shape(value, place))
}

/** An array of at most `maxItems`. */
export function arrayOf<T>(item: Shape<T>, maxItems = 10_000): Shape<readonly T[]> {
  return (value, place) => {
    if (!Array.isArray(value) || value.length > maxItems) return wrong(place, `a list of at most ${maxItems}`)
    return value.map((entry: unknown, index) => item(entry, `${place}[${index}]`))
  }
}

/** An object with these members; others are left out. */
export function object<const Members extends { readonly [name: string]: Shape<unknown> }>(
  members: Members,
): Shape<MembersOf<Members>> {
  return (value, place) => {
    if (!isJsonObject(value)) return wrong(place, 'an object')
    const entries = Object.entries(members)
      .map(([name, shape]) => [name, shape(value[name], `${place}.${name}`)] as const)
      .filter(([, member]) => member !== undefined)
    // Each member was just given the type that its shape gives.
    return Object.fromEntries(entries) as MembersOf<Members>
  }
}

function wrong(place: string, expected: string): never {
  throw new QmpProtocolError(`the guest agent's answer is not understood: ${place} is not ${expected}`)
}
