/**
 * Puts a program into a few files, which load sooner than many and take less memory.
 *
 * Invariant: a bundle older or newer than any of its sources is never run. Its starter compares size and time of every source and
 * runs the sources when one differs; so this may be run at any time, or never. Files are named by what they hold, so those who still
 * run an older bundle find theirs, for some hours.
 */
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { type Plugin, type RolldownOptions, rolldown } from 'rolldown'

/** For so long after it was written a file of an older bundle is kept: longer than tests run with it. */
const keptMs = 3 * 3_600_000

/** What a bundle is made of, and where it goes. */
export interface BundleOptions {
  /** The program. */
  readonly input: string
  /** Where the bundle and its starter `start.cjs` go: a folder beside the folder of the program. */
  readonly folder: string
  /** Whether the program is CommonJS inside the bundle: it starts sooner, and cannot wait at its top level. */
  readonly isCommonJs: boolean
  /** Whether all is one file, for who runs so long that another bundle takes the place of its own. */
  readonly isOneFile?: boolean
  /** What is not put in, but loaded from where it is. */
  readonly external?: RolldownOptions['external']
}

/** A bundle that was written. */
export interface Bundle {
  /** The file with the program, without the look at its sources. */
  readonly main: string
  readonly sources: number
}

/** Writes the bundle of a program and its starter. */
export async function writeBundle({
  input,
  folder,
  isCommonJs,
  isOneFile = false,
  external,
}: BundleOptions): Promise<Bundle> {
  const startedAtMs = Date.now()
  await using build = await rolldown({
    input,
    platform: 'node',
    ...(external === undefined ? {} : { external }),
    plugins: [foldersOfSources(folder)],
  })
  const end = isCommonJs ? 'cjs' : 'mjs'
  const { output } = await build.generate({
    format: isCommonJs ? 'cjs' : 'esm',
    codeSplitting: !isOneFile,
    entryFileNames: `main-[hash].${end}`,
    chunkFileNames: `[name]-[hash].${end}`,
  })
  const chunks = output.filter((file) => file.type === 'chunk')
  const sources = [...new Set(chunks.flatMap(({ modules }) => Object.keys(modules)))].filter((file) =>
    file.startsWith('/'),
  )
  const stamps = sources.map((file) => {
    const { mtimeMs, size } = statSync(file)
    const wasWrittenMeanwhile = mtimeMs >= startedAtMs // Then it is not known which of both was read.
    return [relative(folder, file), wasWrittenMeanwhile ? -1 : mtimeMs, size] as const
  })
  mkdirSync(folder, { recursive: true })
  for (const { fileName, code } of chunks) replaceFile(join(folder, fileName), code)
  const main = chunks.find(({ isEntry }) => isEntry)?.fileName ?? ''
  const load = `${isCommonJs ? 'require' : 'import'}('./${main}')`
  replaceFile(join(folder, 'start.cjs'), starter(stamps, { load, otherwise: relative(folder, input) }))
  removeOldFiles(folder, new Set(['start.cjs', ...chunks.map(({ fileName }) => fileName)]))
  return { main: join(folder, main), sources: sources.length }
}

/** Writes a program as one file, without a starter: for who runs it at once. */
export async function writeProgram(input: string, file: string): Promise<void> {
  const plugins = [foldersOfSources(dirname(file))]
  await using build = await rolldown({ input, platform: 'node', plugins })
  await build.write({ file, format: 'esm', codeSplitting: false })
}

function foldersOfSources(folder: string): Plugin {
  return { name: 'folders-of-sources', transform: (code, id) => keepFolder(code, { id, folder }) }
}

/** Code finds what lies beside its source, wherever the checkout is. */
function keepFolder(code: string, { id, folder }: { readonly id: string; readonly folder: string }): string {
  const path = JSON.stringify(relative(folder, dirname(id)))
  return code.replaceAll(
    'import.meta.dirname',
    `process.getBuiltinModule('node:path').join(import.meta.dirname, ${path})`,
  )
}

function removeOldFiles(folder: string, current: ReadonlySet<string>): void {
  for (const name of readdirSync(folder)) {
    if (current.has(name)) continue
    const written = statSync(join(folder, name), { throwIfNoEntry: false })?.mtimeMs ?? 0
    if (written < Date.now() - keptMs) rmSync(join(folder, name), { recursive: true, force: true })
  }
}

function starter(
  stamps: readonly (readonly [file: string, mtimeMs: number, size: number])[],
  { load, otherwise }: { readonly load: string; readonly otherwise: string },
): string {
  return `const { statSync } = require('node:fs')
const sources = ${JSON.stringify(stamps)}
const fresh = sources.every(([file, mtimeMs, size]) => {
  const now = statSync(__dirname + '/' + file, { throwIfNoEntry: false })
  return now !== undefined && now.mtimeMs === mtimeMs && now.size === size
})
if (fresh) ${load}
else import('${otherwise}')
`
}

/** Another process may be reading the file: it sees the old one or the new one. */
function replaceFile(file: string, content: string): void {
  const fresh = `${file}.${process.pid}`
  writeFileSync(fresh, content)
  renameSync(fresh, file)
}
