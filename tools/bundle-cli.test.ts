import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { bundleCli } from './bundle-cli.ts'

test('the bundle is the command line, is not run once a source has changed, and goes when it is old', async () => {
  const folder = join(dirname(import.meta.dirname), `packages/cli/.cache-test-${process.pid}`)
  const run = () =>
    execFileSync(process.execPath, [join(folder, 'start.cjs'), '--version'], { encoding: 'utf8' })
  try {
    assert.ok((await bundleCli(folder)).sources > 20)
    assert.match(run(), /^kvasir \d+\.\d+\.\d+\n$/)

    const starter = readFileSync(join(folder, 'start.cjs'), 'utf8')
    const main = /main-[\w-]+\.cjs/.exec(starter)?.[0] ?? ''
    writeFileSync(join(folder, main), "console.log('the bundle')")
    assert.equal(run(), 'the bundle\n')

    writeFileSync(join(folder, 'start.cjs'), starter.replace(/,\d+\]/, ',1]'))
    assert.match(run(), /^kvasir \d+\.\d+\.\d+\n$/)

    const [old, recent] = ['old-1.cjs', 'recent-1.cjs'].map((name) => join(folder, name))
    for (const file of [old, recent]) writeFileSync(String(file), '')
    utimesSync(String(old), 0, 0)
    await bundleCli(folder)
    assert.deepEqual([existsSync(String(old)), existsSync(String(recent))], [false, true])
    assert.match(run(), /^kvasir \d+\.\d+\.\d+\n$/)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
