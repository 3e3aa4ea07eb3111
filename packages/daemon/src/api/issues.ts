/**
 * What is wrong with a request, in one sentence that names every field, and in details for machines.
 *
 * The contract's own messages are predicates (`is less than 16 MiB`); those of zod are turned into such.
 */
import { KvasirError } from '@kvasir/contract'
import type { z } from 'zod'
import { apiLimits } from './limits.ts'

/** The part of a request that a field belongs to. */
export type RequestPart = 'path' | 'query' | 'body'

/** One thing that is wrong with a request. */
export interface RequestIssue {
  readonly in: RequestPart
  /** The field, e.g. `spec.disks.0.size`; empty for the part itself. */
  readonly field: string
  /** What is wrong with it, e.g. `is not a size`. */
  readonly problem: string
}

type ZodIssue = z.core.$ZodIssue

/** The issues of one part. */
export function issuesOf(part: RequestPart, issues: readonly ZodIssue[]): RequestIssue[] {
  return issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys')
      return issue.keys.map((key) => ({
        in: part,
        field: fieldName([...issue.path, key]),
        problem: 'is not known',
      }))
    return [{ in: part, field: fieldName(issue.path), problem: predicate(issue) }]
  })
}

/** The refusal of a request with issues. */
export function invalidRequest(issues: readonly RequestIssue[]): KvasirError {
  const named = issues.slice(0, apiLimits.namedIssues)
  const more = issues.length - named.length
  const sentences = named.map(({ in: part, field, problem }) => {
    if (field === '') return `the ${part} ${problem}`
    return `${part === 'body' ? '' : `${part} `}${field} ${problem}`
  })
  const rest = more > 0 ? `; and ${more} more` : ''
  return new KvasirError(
    'bad-request',
    `The request is not valid, so nothing was done: ${sentences.join('; ')}${rest}.`,
    { details: { issues: named } },
  )
}

function fieldName(path: readonly PropertyKey[]): string {
  return path.map((key) => printable(String(key))).join('.')
}

/** A key that a stranger chose, made safe to print. */
function printable(key: string): string {
  const short = key.length > 64 ? `${key.slice(0, 64)}…` : key
  return /^[\w@:/-]+…?$/.test(short) ? short : JSON.stringify(short)
}

function predicate(issue: ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined && issue.message.endsWith('received undefined')
        ? 'is missing'
        : `must be ${article(issue.expected)}${received(issue.message)}`
    case 'invalid_value':
      return `must be ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map(String).join(', ')}`
    case 'too_big':
      return bound(issue.origin, 'more', 'at most', issue.maximum)
    case 'too_small':
      return bound(issue.origin, 'fewer', 'at least', issue.minimum)
    case 'not_multiple_of':
      return `must be a multiple of ${issue.divisor}`
    case 'invalid_union':
      return unionPredicate(issue.errors)
    case 'invalid_key':
    case 'invalid_element':
      return issue.issues[0] ? predicate(issue.issues[0]) : 'is not valid'
    case 'invalid_format':
    case 'custom':
    case 'unrecognized_keys':
      return isZodsOwn(issue.message) ? `is not a valid ${formatWord(issue)}` : issue.message
  }
}

function isZodsOwn(message: string): boolean {
  return message.startsWith('Invalid')
}

function formatWord(issue: ZodIssue): string {
  if (issue.code !== 'invalid_format') return 'value'
  return issue.format.startsWith('ip') ? issue.format.replace('ipv', 'IPv') : issue.format
}

function received(message: string): string {
  const match = /received (\w+)$/.exec(message)
  return match ? `, not ${article(match[1] ?? '')}` : ''
}

function article(type: string): string {
  switch (type) {
    case 'int':
      return 'a whole number'
    case 'undefined':
      return 'absent'
    case 'null':
      return 'null'
    case 'NaN':
      return 'something that is not a number'
    case 'array':
      return 'a list'
    case 'record':
    case 'object':
      return 'an object'
    default:
      return `a ${type}`
  }
}

function bound(
  origin: string,
  comparison: 'more' | 'fewer',
  atLimit: string,
  limit: number | bigint,
): string {
  if (origin === 'string') return `must have ${atLimit} ${limit} characters`
  if (origin === 'array' || origin === 'set') return `has ${comparison} than ${limit} entries`
  return `must be ${atLimit} ${limit}`
}

function unionPredicate(branches: readonly (readonly ZodIssue[])[]): string {
  const problems = branches.flatMap((branch) => (branch[0] ? [predicate(branch[0])] : []))
  return [...new Set(problems)].join(' and ') || 'is not valid'
}
