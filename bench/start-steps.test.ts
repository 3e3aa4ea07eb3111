import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { stepsOf } from './start-steps.ts'

test('every millisecond of a start belongs to a step, and other starts to none', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-steps-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const times = join(folder, 'times')
  writeFileSync(
    times,
    'vm.start.before-intent 50\nvm.start.before-intent 103\nemulator.launch.after-spawn 120\n',
  )

  const steps = stepsOf([{ askedAt: 100, answeredAt: 121 }], times)

  assert.deepEqual(
    [...steps],
    [
      ['request, job row, decisions', 3],
      ['the cage is closed, QEMU executed', 17],
      ['answered', 1],
    ],
  )
})
