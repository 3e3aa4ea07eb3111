/**
 * From words to a command: finds the row that the first words name, parses the rest, runs it, and turns what it throws into a
 * sentence on stderr and an exit code.
 *
 * Not here: the process (main.ts), the commands (nouns/).
 */
import { errorTable, exitCodes, KvasirError } from '@kvasir/contract/error-table'
import { type Command, globalFlags, type Verbs } from './command.ts'
import { Context } from './context.ts'
import { fileTrouble } from './file-trouble.ts'
import { nouns } from './nouns.ts'
import { formats, Output, type Sink } from './output/output.ts'
import { type CommandLine, parseCommandLine } from './parse-command-line.ts'
import { suggest } from './suggest.ts'
import { UsageError } from './usage-error.ts'

/** Ended by Ctrl-C. */
const exitInterrupted = 130

/** What to do about refusals whose sentences do not say it. */
const adviceFor: ReadonlyMap<string, string> = new Map([
  ['vm-not-found', 'See: kvasir vm list'],
  ['image-not-found', 'See: kvasir image list'],
  ['volume-not-found', 'See: kvasir volume list'],
  ['job-not-found', 'See: kvasir job list'],
])

/** The surroundings of a run. */
export interface Surroundings {
  readonly stdout: Sink
  readonly stderr: Sink
  readonly environment: NodeJS.ProcessEnv
  readonly signal: AbortSignal
}

/** Runs a command line and gives its exit code. */
export async function dispatch(words: readonly string[], surroundings: Surroundings): Promise<number> {
  let output = new Output({ ...surroundings, format: 'table', quiet: false, color: false })
  try {
    const found = await findCommand(words)
    if (found === undefined) return await printHelp(words, output)
    const line = parseCommandLine(found.rest, found.command, found.title)
    output = outputOf(line, surroundings)
    if (line.flags.has('help')) {
      const { commandUsage } = await import('./usage.ts')
      output.stdout.write(commandUsage(found.title, found.command))
      return exitCodes.done
    }
    const { environment, signal } = surroundings
    const action = await found.command.load()
    return (await action(new Context({ line, output, signal, environment, nouns }))) ?? exitCodes.done
  } catch (error) {
    return explain(error, output, surroundings.signal)
  }
}

interface Found {
  readonly command: Command
  readonly title: string
  readonly rest: readonly string[]
}

/** The command that the words name; undefined when they ask for help or say nothing. */
async function findCommand(words: readonly string[]): Promise<Found | undefined> {
  const { before, rest } = splitGlobalFlags(words)
  const [noun, ...others] = rest
  if (noun === undefined || isHelp(noun) || noun === '--version') return undefined
  const entry = Object.hasOwn(nouns, noun) ? nouns[noun] : undefined
  if (entry === undefined) throw unknownWord(noun, Object.keys(nouns), 'kvasir')
  const node = await entry.load()
  if (entry.kind === 'command') {
    const command = node['']
    if (command !== undefined) return { command, title: noun, rest: [...before, ...others] }
  }
  return findVerb(node, { title: noun, before, words: others })
}

function findVerb(
  verbs: Verbs,
  at: { readonly title: string; readonly before: readonly string[]; readonly words: readonly string[] },
): Found | undefined {
  const [first, second] = at.words
  if (first === undefined || isHelp(first)) return undefined
  const pair = `${first} ${second ?? ''}`
  const paired = Object.keys(verbs).filter((verb) => verb.startsWith(`${first} `))
  const name = Object.hasOwn(verbs, pair) ? pair : first
  const command = Object.hasOwn(verbs, name) ? verbs[name] : undefined
  if (command !== undefined) {
    const taken = name.split(' ').length
    return { command, title: `${at.title} ${name}`, rest: [...at.before, ...at.words.slice(taken)] }
  }
  if (paired.length > 0) {
    if (second === undefined || isHelp(second)) return undefined
    throw unknownWord(
      second,
      paired.map((verb) => verb.slice(first.length + 1)),
      `kvasir ${at.title} ${first}`,
    )
  }
  throw unknownWord(
    first,
    [...new Set(Object.keys(verbs).map((verb) => verb.split(' ')[0] ?? verb))],
    `kvasir ${at.title}`,
  )
}

function isHelp(word: string): boolean {
  return word === 'help' || word === '--help' || word === '-h'
}

/** Flags of every command may also stand before the noun. */
function splitGlobalFlags(words: readonly string[]): { before: readonly string[]; rest: readonly string[] } {
  let index = 0
  while (index < words.length) {
    const word = words[index] ?? ''
    const flag = Object.entries(globalFlags).find(
      ([name, row]) =>
        word === `--${name}` || word.startsWith(`--${name}=`) || ('short' in row && word === `-${row.short}`),
    )
    if (flag === undefined || flag[0] === 'help') break
    index += 'value' in flag[1] && !word.includes('=') ? 2 : 1
  }
  return { before: words.slice(0, index), rest: words.slice(index) }
}

function unknownWord(word: string, candidates: readonly string[], after: string): UsageError {
  const meant = suggest(word, candidates)
  return new UsageError(
    `There is no command ${JSON.stringify(`${after} ${word}`)}.`,
    meant === undefined ? `Commands: ${candidates.join(', ')}.` : `Did you mean: ${after} ${meant}`,
  )
}

async function printHelp(words: readonly string[], output: Output): Promise<number> {
  const { nounUsage, overview, version } = await import('./usage.ts')
  if (words[0] === '--version') {
    output.stdout.write(version())
    return exitCodes.done
  }
  const at = words.findIndex((word) => Object.hasOwn(nouns, word))
  const noun = words[at]
  const second = words.slice(at + 1).find((word) => !word.startsWith('-') && !isHelp(word))
  const text = noun === undefined ? overview() : nounUsage(noun, (await nouns[noun]?.load()) ?? {}, second)
  const asked = words.some(isHelp)
  ;(asked ? output.stdout : output.stderr).write(text)
  return asked ? exitCodes.done : exitCodes.usage
}

function outputOf(line: CommandLine, surroundings: Surroundings): Output {
  const asked = line.flags.get('output')?.at(-1) ?? 'table'
  const format = formats.find((candidate) => candidate === asked)
  if (format === undefined) {
    throw new UsageError(
      `--output cannot be ${JSON.stringify(asked)}.`,
      `Write one of: ${formats.join(', ')}.`,
    )
  }
  const { environment } = surroundings
  const color = !line.flags.has('no-color') && !environment['NO_COLOR'] && environment['TERM'] !== 'dumb'
  return new Output({ ...surroundings, format, quiet: line.flags.has('quiet'), color })
}

/** Whether who read stdout has read enough, as head does. */
function isUnread(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EPIPE' && 'syscall' in error
}

/** Says what went wrong and gives the exit code of it. */
function explain(error: unknown, output: Output, signal: AbortSignal): number {
  if (error instanceof UsageError) {
    output.stderr.write(`${error.message}\n${error.advice}\n`)
    return exitCodes.usage
  }
  if (
    signal.aborted &&
    (error === signal.reason || (error instanceof Error && error.name === 'AbortError'))
  ) {
    return exitInterrupted
  }
  if (error instanceof KvasirError) {
    output.stderr.write(`${error.message} ${output.grey(`(${error.code})`)}\n`)
    const advice = adviceFor.get(error.code)
    if (advice !== undefined) output.message(advice)
    return errorTable[error.code].exit
  }
  if (isUnread(error)) return exitCodes.done
  const trouble = fileTrouble(error)
  if (trouble) return explain(trouble, output, signal)
  const trace = error instanceof Error ? (error.stack ?? error.message) : String(error)
  output.stderr.write(
    `Kvasir's command line has a defect, so the command did not end well. ${output.grey('(internal)')}\n${trace}\n`,
  )
  return exitCodes.hostFailed
}
