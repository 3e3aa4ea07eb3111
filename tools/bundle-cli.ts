/**
 * Puts the command line into a few files, which load sooner than many: packages/cli/.cache/, used by ./kvasir where it is. What a
 * command does not use lies in files of its own and is not read.
 *
 * They are CommonJS: to start with, Node then needs no loader of ES modules, nor reads every export of its own modules for one.
 *
 * Invariant: a bundle older or newer than any of its sources is never run. Its starter compares size and time of every source and
 * runs the sources when one differs; so this may be run at any time, or never. Files are named by what they hold, so those who still
 * run an older bundle find theirs, for an hour after there is a newer one.
 */
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { rolldown } from 'rolldown'

const root = dirname(import.meta.dirname)
const cli = join(root, 'packages/cli')

/** Loaded from node_modules when they are needed, which is seldom; of ours, what reads captured hosts. */
const external = ['ws', 'yaml', /^@kvasir\/(daemon\/|linux\/(?!cpu-list$))/]

/** For so long after it was written a file of an older bundle is kept. */
const keptMs = 3_600_000

/** Writes the bundle and its starter into a folder beside the sources of the CLI; gives how many sources went into it. */
export async function bundleCli(folder = join(cli, '.cache')): Promise<number> {
  await using build = await rolldown({ input: join(cli, 'src/main.ts'), platform: 'node', external })
  const { output } = await build.generate({
    format: 'cjs',
    entryFileNames: 'main-[hash].cjs',
    chunkFileNames: '[name]-[hash].cjs',
  })
  const chunks = output.filter((file) => file.type === 'chunk')
  const sources = [...new Set(chunks.flatMap(({ modules }) => Object.keys(modules)))].filter((file) =>
    file.startsWith('/'),
  )
  const stamps = sources.map((file) => {
    const { mtimeMs, size } = statSync(file)
    return [relative(folder, file), mtimeMs, size] as const
  })
  mkdirSync(folder, { recursive: true })
  for (const { fileName, code } of chunks) replaceFile(join(folder, fileName), code)
  const main = chunks.find(({ isEntry }) => isEntry)?.fileName ?? ''
  replaceFile(join(folder, 'start.cjs'), starter(main, stamps))
  removeOldFiles(folder, new Set(['start.cjs', ...chunks.map(({ fileName }) => fileName)]))
  return sources.length
}

function removeOldFiles(folder: string, current: ReadonlySet<string>): void {
  for (const name of readdirSync(folder)) {
    if (current.has(name)) continue
    const written = statSync(join(folder, name), { throwIfNoEntry: false })?.mtimeMs ?? 0
    if (written < Date.now() - keptMs) rmSync(join(folder, name), { recursive: true, force: true })
  }
}

function starter(
  main: string,
  stamps: readonly (readonly [file: string, mtimeMs: number, size: number])[],
): string {
  return `const { statSync } = require('node:fs')
const sources = ${JSON.stringify(stamps)}
const fresh = sources.every(([file, mtimeMs, size]) => {
  const now = statSync(__dirname + '/' + file, { throwIfNoEntry: false })
  return now !== undefined && now.mtimeMs === mtimeMs && now.size === size
})
if (fresh) require('./${main}')
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
