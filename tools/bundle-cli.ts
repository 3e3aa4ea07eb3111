/**
 * Puts the command line into one file, which loads sooner than many: packages/cli/.cache/, used by ./kvasir where it is.
 *
 * It is CommonJS: to start with, Node then needs no loader of ES modules, nor reads every export of its own modules for one.
 *
 * Invariant: a bundle older or newer than any of its sources is never run. Its starter compares size and time of every source and
 * runs the sources when one differs; so this may be run at any time, or never.
 */
import { mkdirSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { rolldown } from 'rolldown'

const root = dirname(import.meta.dirname)
const cli = join(root, 'packages/cli')

/** Loaded from node_modules when they are needed, which is seldom; of ours, what reads captured hosts. */
const external = ['ws', 'yaml', /^@kvasir\/(daemon\/|linux\/(?!cpu-list$))/]

/** Writes the bundle and its starter into a folder beside the sources of the CLI; gives how many sources went into it. */
export async function bundleCli(folder = join(cli, '.cache')): Promise<number> {
  await using build = await rolldown({ input: join(cli, 'src/main.ts'), platform: 'node', external })
  const { output } = await build.generate({ format: 'cjs', codeSplitting: false })
  const [entry] = output
  const sources = Object.keys(entry.modules).filter((file) => file.startsWith('/'))
  const stamps = sources.map((file) => {
    const { mtimeMs, size } = statSync(file)
    return [relative(folder, file), mtimeMs, size] as const
  })
  mkdirSync(folder, { recursive: true })
  replaceFile(join(folder, 'bundle.cjs'), entry.code)
  replaceFile(join(folder, 'start.cjs'), starter(stamps))
  return sources.length
}

function starter(stamps: readonly (readonly [file: string, mtimeMs: number, size: number])[]): string {
  return `const { statSync } = require('node:fs')
const sources = ${JSON.stringify(stamps)}
const fresh = sources.every(([file, mtimeMs, size]) => {
  const now = statSync(__dirname + '/' + file, { throwIfNoEntry: false })
  return now !== undefined && now.mtimeMs === mtimeMs && now.size === size
})
if (fresh) require('./bundle.cjs')
else import('../src/main.ts')
`
}

/** Another process may be reading the file: it sees the old one or the new one. */
function replaceFile(file: string, content: string): void {
  const fresh = `${file}.${process.pid}`
  writeFileSync(fresh, content)
  renameSync(fresh, file)
}

if (import.meta.main) {
  const count = await bundleCli()
  console.error(`packages/cli/.cache holds the command line, made from ${count} files`)
}
