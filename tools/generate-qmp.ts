/**
 * Generates packages/qmp/src/generated from the introspection of real QEMU binaries in specs/qmp.
 *
 *     node tools/generate-qmp.ts            writes the files
 *     node tools/generate-qmp.ts --check    writes nothing; exits 1 and names each file that differs
 *
 * `@since QEMU X` in the output means that X is the oldest introspected version that has it.
 * To add a version, run tools/introspect-qemu.ts with its binary and then this.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readIntrospections } from './generate-qmp-introspection.ts'
import { MergedSchema } from './generate-qmp-merge.ts'
import { nameTypes } from './generate-qmp-names.ts'
import { printFiles } from './generate-qmp-print.ts'

const root = join(import.meta.dirname, '..')
const specs = join(root, 'specs/qmp')
const output = join(root, 'packages/qmp/src/generated')

mkdirSync(output, { recursive: true })
const schema = new MergedSchema(readIntrospections(specs))
const files = printFiles({ schema, names: nameTypes(schema) })
const present = new Map(readdirSync(output).map((name) => [name, readFileSync(join(output, name), 'utf8')]))
const stale = [...new Set([...files.keys(), ...present.keys()])].filter(
  (name) => files.get(name) !== present.get(name),
)

if (process.argv.includes('--check')) {
  for (const name of stale) console.error(`${join(output, name)} is stale; run node tools/generate-qmp.ts`)
  process.exitCode = stale.length === 0 ? 0 : 1
} else {
  for (const name of stale) {
    const text = files.get(name)
    if (text === undefined) rmSync(join(output, name))
    else writeFileSync(join(output, name), text)
  }
  console.log(`${output}: ${stale.length} of ${files.size} files changed`)
}
