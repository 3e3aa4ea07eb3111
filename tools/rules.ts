/**
 * Holds the repository to its own rules: layers.ts, tidy.ts, failpoints.ts. Prints each violation and exits with 1 when there is one.
 *
 * A step of `npm run check`, where every source is read and parsed once for all rules; the tests beside each rule plant violations.
 */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { failpointViolations } from './failpoints.ts'
import { layerViolations } from './layers.ts'
import { listRepository, parse, readSources } from './sources.ts'
import { tidyViolations, workplaceViolations } from './tidy.ts'

const root = join(import.meta.dirname, '..')
const maxTextBytes = 4 * 1024 * 1024
/** Fewer were not found, rather than not written. */
const fewestSources = 50

function main(): void {
  const sources = readSources(root)
  const texts = listRepository(root)
    .filter((path) => statSync(join(root, path)).size < maxTextBytes)
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }))
  const violations = [
    ...sources.flatMap((file) => {
      const tree = parse(file)
      return [...layerViolations(file, tree), ...tidyViolations(file, tree)]
    }),
    ...texts.flatMap((file) => workplaceViolations(file, root)),
    ...failpointViolations(sources),
  ]
  for (const { path, line, rule } of violations) console.error(`${path}:${line}: ${rule}`)
  if (sources.length < fewestSources) console.error('The sources were not found, so nothing was checked.')
  process.exitCode = violations.length === 0 && sources.length >= fewestSources ? 0 : 1
}

main()
