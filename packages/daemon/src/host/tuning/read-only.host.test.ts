/** The real files of KSM where /sys is mounted read-only, as in a container: in a mount namespace of the test's own. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { runJsonCommand } from '@kvasir/linux'
import { lacking, needs } from '../../../../../tools/require.ts'

const folder = '/sys/kernel/mm/ksm'
const skip = needs('root') || (existsSync(folder) ? false : lacking('ksm', 'this kernel has none'))

test('KSM whose files are read-only is told of with the reason, and nothing of it is changed', {
  skip,
}, async (t) => {
  const state = mkdtempSync(join(tmpdir(), 'kvasir-readonly-'))
  t.after(() => rmSync(state, { recursive: true }))
  const before = readFileSync(`${folder}/pages_to_scan`, 'utf8')
  const wanted = { ksm: { pagesToScan: Number(before) + 1 }, zswap: {} }
  const program = `
    import { applyHostTuning } from '${import.meta.dirname}/host-tuning.ts'
    const options = { wanted: ${JSON.stringify(wanted)}, bootId: 'boot-1', statePath: '${state}/tuning.json' }
    const tuning = await applyHostTuning(options)
    await tuning.giveBack()
    console.log(JSON.stringify(tuning.outcomes))
  `

  const outcomes = await runJsonCommand(
    [
      'unshare',
      '--mount',
      '/bin/sh',
      '-c',
      `mount --bind ${folder} ${folder} && mount -o remount,bind,ro ${folder} && exec "$0" --input-type=module -e "$1"`,
      process.execPath,
      program,
    ],
    { timeoutMs: 30_000 },
  )

  assert.deepEqual(outcomes, [
    {
      setting: 'ksm.pagesToScan',
      path: `${folder}/pages_to_scan`,
      wanted: String(Number(before) + 1),
      state: 'refused',
      value: before.trim(),
      reason: '/sys is mounted read-only',
    },
  ])
  assert.equal(readFileSync(`${folder}/pages_to_scan`, 'utf8'), before)
})
