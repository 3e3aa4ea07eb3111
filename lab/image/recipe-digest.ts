/** What the lab's image is made from, as a digest: checkouts with the same recipe share one image. */
import { createHash } from 'node:crypto'
import { globSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

const folder = join(import.meta.dirname, '..')
/** All that shapes the image. The machine around it has its own file and its own snapshots. */
const ingredients = ['image/**', 'agent/**']
const digestLength = 16

/** The digest of the recipe: the files that build the image, those that are laid into it, and the version of Node. */
export function recipeDigest(): string {
  const hash = createHash('sha256').update(process.version)
  for (const path of globSync(ingredients, { cwd: folder }).toSorted()) {
    const full = join(folder, path)
    const { mode } = statSync(full)
    if (path.endsWith('.test.ts') || !statSync(full).isFile()) continue
    hash.update(`\0${path}\0${mode}\0`).update(readFileSync(full))
  }
  return hash.digest('hex').slice(0, digestLength)
}
