/**
 * Generates packages/qmp/src/generated from the introspection of real QEMU binaries in specs/qmp.
 *
 *     node tools/generate-qmp.ts            writes the files
 *     node tools/generate-qmp.ts --check    writes nothing; exits 1 and names each file that differs
 *     --output FOLDER                       another folder than packages/qmp/src/generated
 *
 * `@since QEMU X` in the output means that X is the oldest introspected version that has it.
 * To add a version, run tools/introspect-qemu.ts with its binary and then this.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { readIntrospections } from './generate-qmp-introspection.ts'
import { MergedSchema } from './generate-qmp-merge.ts'
import { nameTypes } from './generate-qmp-names.ts'
import { printFiles } from './generate-qmp-print.ts'

const root = join(import.meta.dirname, '..')

function main(): void {
  const { values } = parseArgs({ options: { check: { type: 'boolean' }, output: { type: 'string' } } })
  const output = values.output ?? join(root, 'packages/qmp/src/generated')
  if (values.check === true) {
    const stale = staleFiles(print(), output)
    for (const name of stale) console.error(`${join(output, name)} is stale; run node tools/generate-qmp.ts`)
    process.exitCode = stale.length === 0 ? 0 : 1
    return
  }
  const { changed, files } = generateInto(output)
  console.log(`${output}: ${changed} of ${files} files changed`)
}

/** Writes the files that differ, and removes those that should not be there. */
export function generateInto(output: string): { readonly changed: number; readonly files: number } {
  const files = print()
  const stale = staleFiles(files, output)
  for (const name of stale) {
    const text = files.get(name)
    if (text === undefined) rmSync(join(output, name))
    else writeFileSync(join(output, name), text)
  }
  return { changed: stale.length, files: files.size }
}

function print(): ReadonlyMap<string, string> {
  const schema = new MergedSchema(readIntrospections(join(root, 'specs/qmp')))
  return printFiles({ schema, names: nameTypes(schema) })
}

/** The names of files that differ, are missing, or should not be there. */
function staleFiles(files: ReadonlyMap<string, string>, output: string): readonly string[] {
  mkdirSync(output, { recursive: true })
  const present = new Map(readdirSync(output).map((name) => [name, readFileSync(join(output, name), 'utf8')]))
  const names = new Set([...files.keys(), ...present.keys()])
  return [...names].filter((name) => files.get(name) !== present.get(name))
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) main()
