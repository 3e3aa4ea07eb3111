/**
 * What may follow on a command line: nouns, verbs, flags, and names that the daemon is asked for.
 *
 * A daemon that does not answer in time gives no names; completion never prints an error.
 */
import { routes } from '@kvasir/contract/routes'
import { type Client, createClient, urlOfEnvironment } from '@kvasir/sdk'
import { type Action, type Command, type Completes, type Flag, globalFlags, type Verbs } from '../command.ts'
import type { Noun } from '../nouns.ts'
import { volumeName } from '../volume/volume-address.ts'

/** How long a person who pressed Tab waits for names. */
const namesTimeoutMs = 1_000

/** A candidate and what it means. */
export interface Candidate {
  readonly word: string
  readonly summary?: string
}

/** Gives the names of one kind of thing. */
export type Names = (
  kind: 'vm' | 'image' | 'pool' | 'volume' | 'network' | 'job',
) => Promise<readonly string[]>

/** Where candidates come from. */
export interface Sources {
  readonly nouns: Readonly<Record<string, Noun>>
  readonly names: Names
}

export const printCandidates: Action = async (context) => {
  const words = context.rest
  const url = words[words.indexOf('--url') + 1]
  const names: Names = async (kind) => {
    try {
      const chosen = words.includes('--url') ? url : urlOfEnvironment(context.environment)
      return await namesOf(createClient({ url: chosen }), kind)
    } catch {
      return []
    }
  }
  const candidates = await complete(words, { names, nouns: context.nouns })
  context.output.stdout.write(
    candidates.map(({ word, summary }) => `${word}${summary === undefined ? '' : `\t${summary}`}\n`).join(''),
  )
  return undefined
}

/** The candidates for the last word, after those before it. */
export async function complete(words: readonly string[], sources: Sources): Promise<readonly Candidate[]> {
  const current = words.at(-1) ?? ''
  const all = await candidatesAfter(words.slice(0, -1), current, sources)
  return all.filter(({ word }) => word.startsWith(current))
}

async function candidatesAfter(
  before: readonly string[],
  current: string,
  { names, nouns }: Sources,
): Promise<Candidate[]> {
  const [noun, first, second] = before
  if (noun === undefined) return shownNouns(nouns)
  const entry = Object.hasOwn(nouns, noun) ? nouns[noun] : undefined
  if (entry === undefined) return []
  const verbs = await entry.load()
  const single = verbs['']
  if (single !== undefined) return await inCommand(single, { written: before.slice(1), current, names })
  if (first === undefined) return firstWords(verbs)
  const command = verbs[first] ?? verbs[`${first} ${second ?? ''}`]
  if (command === undefined) return second === undefined ? secondWords(verbs, first) : []
  return await inCommand(command, {
    written: before.slice(verbs[first] === undefined ? 3 : 2),
    current,
    names,
  })
}

interface Place {
  readonly written: readonly string[]
  readonly current: string
  readonly names: Names
}

async function inCommand(command: Command, { written, current, names }: Place): Promise<Candidate[]> {
  const flags: Readonly<Record<string, Flag>> = { ...command.flags, ...globalFlags }
  const waiting = flagNamed(flags, written.at(-1))
  if (waiting?.value !== undefined) return await candidatesFor(waiting.completes, names)
  const inline = /^(--[\w-]+)=/.exec(current)?.[1]
  if (inline !== undefined) {
    const values = await candidatesFor(flagNamed(flags, inline)?.completes, names)
    return values.map(({ word }) => ({ word: `${inline}=${word}` }))
  }
  if (current.startsWith('-')) {
    return Object.entries(flags)
      .filter(([name, flag]) => flag.multiple === true || !written.includes(`--${name}`))
      .map(([name, flag]) => ({ word: `--${name}`, summary: flag.summary }))
  }
  const taken = written.filter((word, index) => {
    return !word.startsWith('-') && flagNamed(flags, written[index - 1])?.value === undefined
  }).length
  const known = command.arguments ?? []
  const argument = known[taken] ?? (known.at(-1)?.rest ? known.at(-1) : undefined)
  return await candidatesFor(argument?.completes, names)
}

function flagNamed(flags: Readonly<Record<string, Flag>>, word: string | undefined): Flag | undefined {
  return Object.entries(flags).find(
    ([name, flag]) => word === `--${name}` || (flag.short !== undefined && word === `-${flag.short}`),
  )?.[1]
}

async function candidatesFor(completes: Completes | undefined, names: Names): Promise<Candidate[]> {
  if (completes === undefined || completes === 'file') return []
  const words = typeof completes === 'string' ? await names(completes) : completes
  return words.map((word) => ({ word }))
}

function shownNouns(nouns: Readonly<Record<string, Noun>>): Candidate[] {
  return Object.entries(nouns)
    .filter(([, noun]) => !noun.hidden)
    .map(([word, { summary }]) => ({ word, summary }))
}

function firstWords(verbs: Verbs): Candidate[] {
  const words = new Map<string, string>()
  for (const [verb, { summary }] of Object.entries(verbs)) {
    const [first = verb, second] = verb.split(' ')
    words.set(first, second === undefined ? summary : `The ${first}s of a VM.`)
  }
  return [...words].map(([word, summary]) => ({ word, summary }))
}

function secondWords(verbs: Verbs, first: string): Candidate[] {
  return Object.entries(verbs)
    .filter(([verb]) => verb.startsWith(`${first} `))
    .map(([verb, { summary }]) => ({ word: verb.slice(first.length + 1), summary }))
}

async function namesOf(client: Client, kind: Parameters<Names>[0]): Promise<readonly string[]> {
  const timeoutMs = namesTimeoutMs
  switch (kind) {
    case 'vm':
      return (await client.call(routes.listVms, { timeoutMs })).map((vm) => vm.name)
    case 'image':
      return (await client.call(routes.listImages, { timeoutMs })).map((image) => image.name)
    case 'pool':
      return (await client.call(routes.listPools, { timeoutMs })).map((pool) => pool.name)
    case 'volume':
      return (await client.call(routes.listVolumes, { timeoutMs })).map(volumeName)
    case 'network':
      return (await client.call(routes.listNetworks, { timeoutMs })).map((network) => network.name)
    case 'job':
      return (await client.call(routes.listJobs, { timeoutMs })).map((job) => job.id)
  }
}
