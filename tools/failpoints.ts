/** The rule about failpoints: each is registered once, and reached somewhere in the daemon. */
import type { SourceFile, Violation } from './sources.ts'

const table = 'packages/daemon/src/ports/failpoints.ts'
const daemon = /^packages\/daemon\/src\/.*(?<!\.test)\.ts$/
const name = /'([a-z]+(?:\.[a-z]+)*\.(?:before|after)-[a-z-]+)'/g

interface Mention {
  readonly path: string
  readonly line: number
  readonly name: string
}

/** What does not agree between the table of failpoints and the files that reach them. */
export function failpointViolations(sources: readonly SourceFile[]): readonly Violation[] {
  const mentions = sources.filter(({ path }) => daemon.test(path)).flatMap(mentionsIn)
  const registered = mentions.filter(({ path }) => path === table)
  const reached = mentions.filter(({ path }) => path !== table)
  const first = new Map(registered.toReversed().map((mention) => [mention.name, mention]))
  const reachedNames = new Set(reached.map((mention) => mention.name))
  return [
    ...registered
      .filter((mention) => first.get(mention.name) !== mention)
      .map((mention) => violation(mention, 'is registered twice')),
    ...[...first.values()]
      .filter((mention) => !reachedNames.has(mention.name))
      .map((mention) => violation(mention, 'is reached nowhere')),
    ...reached
      .filter((mention) => !first.has(mention.name))
      .map((mention) => violation(mention, 'is not registered')),
  ]
}

function mentionsIn({ path, text }: SourceFile): readonly Mention[] {
  return text
    .split('\n')
    .flatMap((content, index) =>
      [...content.matchAll(name)].map((match) => ({ path, line: index + 1, name: match[1] ?? '' })),
    )
}

function violation(mention: Mention, what: string): Violation {
  return { path: mention.path, line: mention.line, rule: `failpoint ${mention.name} ${what}` }
}
