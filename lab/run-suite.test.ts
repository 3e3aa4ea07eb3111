import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { writeLabPrograms } from './run-suite.ts'

test('a file that could not end in time is skipped by its name, and begins no lab', (t) => {
  const checkout = mkdtempSync(join(tmpdir(), 'kvasir-lab-late-'))
  t.after(() => rmSync(checkout, { recursive: true }))
  using written = writeLabPrograms(['/suites/kvm.lab.mjs'], { checkout, labs: 1 })
  const { NODE_TEST_CONTEXT: _, ...env } = process.env

  const said = execFileSync(process.execPath, ['--test-reporter=tap', ...written.programs], {
    encoding: 'utf8',
    env: { ...env, KVASIR_LAB_UNTIL: '1' },
  })

  assert.match(said, /^ok 1 - kvm\.lab\.mjs # SKIP it could not end by KVASIR_LAB_UNTIL$/m)
})
