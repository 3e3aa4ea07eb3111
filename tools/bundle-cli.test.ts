import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { bundleCli } from './bundle-cli.ts'

test('the bundle is the command line, and is not run once a source has changed', async () => {
  const folder = join(dirname(import.meta.dirname), `packages/cli/.cache-test-${process.pid}`)
  const run = () =>
    execFileSync(process.execPath, [join(folder, 'start.cjs'), '--version'], { encoding: 'utf8' })
  try {
    assert.ok((await bundleCli(folder)) > 20)
    assert.match(run(), /^kvasir \d+\.\d+\.\d+\n$/)

    writeFileSync(join(folder, 'bundle.cjs'), "console.log('the bundle')")
    assert.equal(run(), 'the bundle\n')

    const starter = readFileSync(join(folder, 'start.cjs'), 'utf8')
    writeFileSync(join(folder, 'start.cjs'), starter.replace(/,\d+\]/, ',1]'))
    assert.match(run(), /^kvasir \d+\.\d+\.\d+\n$/)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
