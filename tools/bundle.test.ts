import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { writeBundle } from './bundle.ts'

/** A program of two files, of which one is loaded when it is needed. */
function makeProgram(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-bundle-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const [input, lazy] = ['src/main.ts', 'src/lazy.ts'].map((name) => join(folder, name)) as [string, string]
  mkdirSync(join(folder, 'src'))
  writeFileSync(lazy, 'export const word: string = "first"\n')
  writeFileSync(input, 'const { word } = await import("./lazy.ts")\nconsole.log(word, import.meta.dirname)\n')
  utimesSync(input, 1, 1)
  utimesSync(lazy, 1, 1)
  const options = { input, folder: join(folder, '.bundle'), isCommonJs: false }
  const run = () =>
    execFileSync(process.execPath, [join(options.folder, 'start.cjs')], { encoding: 'utf8' }).trim()
  return { folder, lazy, options, run }
}

test('a bundle finds the folder of its sources, is as old as they are, and is one file where that is wanted', async (t) => {
  const { folder, lazy, options, run } = makeProgram(t)

  const { main } = await writeBundle({ ...options, isOneFile: true })
  assert.equal(readdirSync(options.folder).length, 2)
  assert.equal(run(), `first ${folder}/src`)
  writeFileSync(main, 'console.log("the bundle")')
  assert.equal(run(), 'the bundle')
  writeFileSync(lazy, 'export const word: string = "other"\n')
  assert.equal(run(), `other ${folder}/src`)
})

test('a source that was written while a bundle was made is in none', async (t) => {
  const { folder, lazy, options, run } = makeProgram(t)
  utimesSync(lazy, 1, Date.now() / 1000 + 60)

  const { main } = await writeBundle(options)
  writeFileSync(main, 'console.log("the bundle")')

  assert.equal(run(), `first ${folder}/src`)
})
