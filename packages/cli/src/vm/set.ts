/**
 * `kvasir vm set NAME field=value...`: fields by their path in the spec, devices by their names: `disks.root.cache=none`.
 *
 * A value has the kind that the field has now, a list as `0,1`; a field that is not there takes JSON, or text. An empty value removes
 * the field.
 */
import type { VmSpecInput } from '@kvasir/contract'
import type { Action } from '../command.ts'
import { suggest } from '../suggest.ts'
import { UsageError } from '../usage-error.ts'
import { changeSpec } from './change-spec.ts'
import { parseAssignment } from './device-words.ts'

/** Short names of the fields that are set most. */
const shortNames: ReadonlyMap<string, string> = new Map([
  ['vcpus', 'cpu.count'],
  ['max-vcpus', 'cpu.max'],
  ['cpu-model', 'cpu.model'],
  ['memory', 'memory.size'],
  ['balloon', 'memory.target'],
  ['autostart', 'autostart.enabled'],
])

const showFields = 'Fields: kvasir vm show NAME -o yaml'

/** Names that every object answers to, and that no field has. */
const reserved = new Set(['__proto__', 'constructor', 'prototype'])

export const setFields: Action = async (context) => {
  const assignments = context.rest.map((text) => parseAssignment(text, 'field'))
  await changeSpec(context, (spec) => {
    const changed: VmSpecInput = structuredClone(spec)
    for (const [field, value] of assignments) setField(changed, field, value)
    return changed
  })
  return undefined
}

/** Sets one field in place. Throws `UsageError` when its path leads nowhere. */
export function setField(spec: object, field: string, value: string): void {
  const path = (shortNames.get(field) ?? field).split('.')
  if (path.some((step) => step === '' || reserved.has(step)))
    throw new UsageError(`${field} is no field.`, showFields)
  const last = path.pop() ?? ''
  let at = spec
  for (const step of path) at = stepInto(at, step, field)
  if (Array.isArray(at))
    throw new UsageError(`${field} is a device.`, 'Use: kvasir vm disk add, or kvasir vm nic add')
  if (value === '') Reflect.deleteProperty(at, last)
  else Reflect.set(at, last, parseValue(Reflect.get(at, last), value))
}

function stepInto(at: object, step: string, field: string): object {
  if (Array.isArray(at)) {
    const named = at.find(
      (item) => typeof item === 'object' && item !== null && Reflect.get(item, 'name') === step,
    )
    if (named !== undefined) return named
    throw new UsageError(
      `${field} names no device of this VM.`,
      `Devices: ${at.map((item) => Reflect.get(item, 'name')).join(', ') || 'none'}.`,
    )
  }
  const next: unknown = Object.hasOwn(at, step) ? Reflect.get(at, step) : undefined
  if (typeof next === 'object' && next !== null) return next
  if (next !== undefined)
    throw new UsageError(`${field} leads through ${step}, which holds a value.`, showFields)
  const meant = suggest(step, Object.keys(at))
  if (meant !== undefined) throw new UsageError(`${field} is no field.`, `Did you mean ${meant}?`)
  const made = {}
  Reflect.set(at, step, made)
  return made
}

/** A written value, of the kind that the field holds now. */
export function parseValue(current: unknown, text: string): unknown {
  if (typeof current === 'string') return text
  if (Array.isArray(current) && !text.startsWith('['))
    return text.split(',').map((word) => parseValue(undefined, word))
  if (typeof current === 'number' && !/^-?\d+(\.\d+)?$/.test(text)) return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
