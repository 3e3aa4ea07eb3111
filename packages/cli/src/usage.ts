/** Usage texts, made from the tables of commands. */
import { readFileSync } from 'node:fs'
import { type Argument, type Command, type Flag, globalFlags, type Verbs } from './command.ts'
import { nouns } from './nouns.ts'

/** What the CLI can do, noun by noun. */
export function overview(): string {
  const shown = Object.entries(nouns).filter(([, noun]) => !noun.hidden)
  return [
    'Kvasir runs virtual machines on this host.\n',
    'Usage: kvasir NOUN VERB [NAME] [flags]\n',
    ...pairs(shown.map(([name, noun]) => [name, noun.summary])),
    '\nFlags of every command:',
    ...flagLines(globalFlags),
    '\nExamples:',
    '  kvasir image build debian-13',
    '  kvasir vm create web1 --image debian-13 --memory 1GiB --user me --ssh-key ~/.ssh/id_ed25519.pub --forward 2222:22 --start',
    '  kvasir vm console web1',
    '\nMore about a noun: kvasir vm --help\n',
  ].join('\n')
}

/** What a noun's verbs are; of a pair of words such as `vm disk`, only those that begin with the second. */
export function nounUsage(noun: string, verbs: Verbs, second?: string): string {
  const single = verbs['']
  if (single !== undefined) return commandUsage(noun, single)
  const rows = Object.entries(verbs)
  const paired = rows.filter(([verb]) => verb.startsWith(`${second} `))
  const shown = paired.length > 0 ? paired : rows
  return [
    `Usage: kvasir ${noun} ${paired.length > 0 ? `${second} ` : ''}VERB [flags]\n`,
    ...pairs(shown.map(([verb, command]) => [`${verb} ${signature(command)}`.trim(), command.summary])),
    `\nMore about a verb: kvasir ${noun} ${shown[0]?.[0] ?? ''} --help\n`,
  ].join('\n')
}

/** How one command is written. */
export function commandUsage(title: string, command: Command): string {
  const flags = Object.keys(command.flags ?? {}).length > 0
  return [
    // After the first argument of a command that passes words on, flags are not ours any more.
    `Usage: kvasir ${(command.passThrough ? [title, '[flags]', signature(command)] : [title, signature(command), '[flags]']).filter((part) => part !== '').join(' ')}\n`,
    command.summary,
    ...(flags ? ['\nFlags:', ...flagLines(command.flags ?? {})] : []),
    ...(command.examples === undefined
      ? []
      : ['\nExamples:', ...command.examples.map((example) => `  kvasir ${example}`)]),
    '\nFlags of every command:',
    ...flagLines(globalFlags),
    '',
  ].join('\n')
}

/** The version of this CLI. */
export function version(): string {
  const file = new URL('../package.json', import.meta.url)
  const content: unknown = JSON.parse(readFileSync(file, 'utf8'))
  const found =
    typeof content === 'object' && content !== null && 'version' in content ? content.version : undefined
  return `kvasir ${typeof found === 'string' ? found : 'unknown'}\n`
}

/** The arguments of a command as they are written, such as `NAME [FIELD=VALUE...]`. */
function signature(command: Command): string {
  return (command.arguments ?? []).map(argumentText).join(' ')
}

function argumentText(argument: Argument): string {
  const text = argument.rest ? `${argument.name}...` : argument.name
  return argument.optional ? `[${text}]` : text
}

function flagLines(flags: Readonly<Record<string, Flag>>): string[] {
  return pairs(
    Object.entries(flags).map(([name, flag]) => {
      const short = flag.short === undefined ? '    ' : `-${flag.short}, `
      const value = flag.value === undefined ? '' : ` ${flag.value}`
      const isClosed = typeof flag.completes === 'object' && !flag.open
      const words = isClosed ? ` One of: ${flag.completes.join(', ')}.` : ''
      const repeatable = flag.multiple ? ' May be repeated.' : ''
      return [`${short}--${name}${value}`, `${flag.summary}${words}${repeatable}`]
    }),
  )
}

function pairs(rows: readonly (readonly [string, string])[]): string[] {
  const width = rows.reduce((widest, [left]) => Math.max(widest, left.length), 0)
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`)
}
