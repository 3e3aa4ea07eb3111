/**
 * The words of a command line, checked against the row of their command.
 *
 * Flags may stand anywhere before `--`; `--flag=value`, `--flag value`, `-f value` and `--no-flag` for switches are understood.
 * Not here: which row the first words name (dispatch.ts), what values mean (the commands).
 */
import { type Argument, type Command, type Flag, globalFlags } from './command.ts'
import { suggest } from './suggest.ts'
import { UsageError } from './usage-error.ts'

/** What was written: arguments by name, flags by name. */
export interface CommandLine {
  readonly arguments: ReadonlyMap<string, string>
  /** What the last argument took, when it takes all that is left, and all after `--`. */
  readonly rest: readonly string[]
  readonly flags: ReadonlyMap<string, readonly string[]>
}

/** Parses what follows a command's words. Throws `UsageError`. `title` is the command as written, such as `vm list`. */
export function parseCommandLine(words: readonly string[], command: Command, title: string): CommandLine {
  const known = new Map<string, Flag>([
    ...Object.entries(globalFlags),
    ...Object.entries(command.flags ?? {}),
  ])
  const flags = new Map<string, string[]>()
  const positional: string[] = []
  const expected = command.arguments ?? []
  const advice = `See: kvasir ${title} --help`

  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? ''
    if (word === '--') {
      positional.push(...words.slice(index + 1))
      break
    }
    const isOurs = positional.length === 0 && (word === '--help' || word === '-h')
    if (
      command.passThrough &&
      !isOurs &&
      positional.length >= expected.filter((argument) => !argument.rest).length
    ) {
      positional.push(...words.slice(index))
      break
    }
    if (!word.startsWith('-') || word === '-') {
      positional.push(word)
      continue
    }
    const { name, inline, flag } = findFlag(word, known, advice)
    if (flag.value === undefined) {
      if (inline !== undefined) throw new UsageError(`--${name} takes no value.`, advice)
      flags.set(name, ['true'])
      continue
    }
    const value = inline ?? words[++index]
    if (value === undefined) throw new UsageError(`--${name} needs a value: ${flag.value}.`, advice)
    if (flags.has(name) && !flag.multiple) throw new UsageError(`--${name} is given twice.`, advice)
    flags.set(name, [...(flags.get(name) ?? []), value])
  }
  return { flags, ...(flags.has('help') ? unbound : bind(positional, expected, advice)) }
}

const unbound = { arguments: new Map<string, string>(), rest: [] }

function findFlag(
  word: string,
  known: ReadonlyMap<string, Flag>,
  advice: string,
): { name: string; inline: string | undefined; flag: Flag } {
  if (word.startsWith('--')) {
    const equals = word.indexOf('=')
    const name = word.slice(2, equals < 0 ? undefined : equals)
    const flag = known.get(name)
    if (flag !== undefined) return { name, inline: equals < 0 ? undefined : word.slice(equals + 1), flag }
    const meant = suggest(name, [...known.keys()])
    throw new UsageError(
      `There is no flag --${name}.`,
      meant === undefined ? advice : `Did you mean --${meant}?`,
    )
  }
  const letter = word.slice(1, 2)
  for (const [name, flag] of known) {
    if (flag.short !== letter) continue
    const inline = word.length > 2 ? word.slice(2).replace(/^=/, '') : undefined
    return { name, inline, flag }
  }
  throw new UsageError(`There is no flag -${letter}.`, advice)
}

function bind(
  positional: readonly string[],
  expected: readonly Argument[],
  advice: string,
): { arguments: ReadonlyMap<string, string>; rest: readonly string[] } {
  const bound = new Map<string, string>()
  let taken = 0
  for (const argument of expected) {
    if (argument.rest) {
      const rest = positional.slice(taken)
      if (rest.length === 0 && !argument.optional)
        throw new UsageError(`${argument.name} is missing.`, advice)
      return { arguments: bound, rest }
    }
    const word = positional[taken]
    if (word === undefined) {
      if (argument.optional) continue
      throw new UsageError(`${argument.name} is missing.`, advice)
    }
    bound.set(argument.name, word)
    taken++
  }
  const surplus = positional[taken]
  if (surplus !== undefined)
    throw new UsageError(`There is one word too many: ${JSON.stringify(surplus)}.`, advice)
  return { arguments: bound, rest: [] }
}
