import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { HostTuning } from '../../model/memory/host-tuning.ts'
import { applyHostTuning } from './host-tuning.ts'

const ksm = '/sys/kernel/mm/ksm'
const zswap = '/sys/module/zswap/parameters'

/** A folder with the kernel's files of a host. */
function newHost(t: TestContext, files: Readonly<Record<string, string>>) {
  const root = mkdtempSync(join(tmpdir(), 'kvasir-tuning-'))
  t.after(() => rmSync(root, { recursive: true }))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return {
    root,
    read: (path: string) => readFileSync(join(root, path), 'utf8').trim(),
    apply: (wanted: HostTuning, bootId = 'boot-1') =>
      applyHostTuning({ wanted, root, bootId, statePath: join(root, 'tuning.json') }),
  }
}

const hostFiles = { [`${ksm}/run`]: '0\n', [`${ksm}/pages_to_scan`]: '100\n', [`${zswap}/enabled`]: 'N\n' }

test('what is configured is written, and given back in the end', async (t) => {
  const host = newHost(t, hostFiles)

  const tuning = await host.apply({ ksm: { run: true, pagesToScan: 500 }, zswap: { enabled: true } })

  assert.deepEqual(
    tuning.outcomes.map(({ setting, state, value }) => [setting, state, value]),
    [
      ['ksm.pagesToScan', 'applied', '500'],
      ['ksm.run', 'applied', '1'],
      ['zswap.enabled', 'applied', 'Y'],
    ],
  )
  assert.equal(host.read(`${ksm}/run`), '1')

  await tuning.giveBack()
  assert.deepEqual([`${ksm}/run`, `${ksm}/pages_to_scan`, `${zswap}/enabled`].map(host.read), [
    '0',
    '100',
    'N',
  ])
})

test('a daemon that died is followed by one that knows what was there before', async (t) => {
  const host = newHost(t, hostFiles)
  await host.apply({ ksm: { run: true, pagesToScan: 500 } })

  const next = await host.apply({ ksm: { run: true, pagesToScan: 900 } })
  await next.giveBack()

  assert.equal(host.read(`${ksm}/pages_to_scan`), '100')
  assert.equal(host.read(`${ksm}/run`), '0')
})

test('a setting that is taken out of the configuration is given back at the next start', async (t) => {
  const host = newHost(t, hostFiles)
  await host.apply({ ksm: { run: true, pagesToScan: 500 } })

  await host.apply({ ksm: { pagesToScan: 500 } })

  assert.equal(host.read(`${ksm}/run`), '0')
  assert.equal(host.read(`${ksm}/pages_to_scan`), '500')
})

test('what was remembered of another boot is not given back', async (t) => {
  const host = newHost(t, hostFiles)
  await host.apply({ ksm: { pagesToScan: 500 } })
  const rebooted = await host.apply({ ksm: { pagesToScan: 900 } }, 'boot-2')

  await rebooted.giveBack()

  assert.equal(host.read(`${ksm}/pages_to_scan`), '500')
})

test('where nothing can be noted, as on a full disk, nothing is written and nothing stops', async (t) => {
  const host = newHost(t, hostFiles)
  const wanted = { ksm: { run: true, pagesToScan: 100 } }
  const statePath = join(host.root, 'not-there', 'tuning.json')

  const tuning = await applyHostTuning({ wanted, root: host.root, bootId: 'boot-1', statePath })
  await tuning.giveBack()

  assert.deepEqual(
    tuning.outcomes.map(({ setting, state }) => `${setting} ${state}`),
    ['ksm.pagesToScan applied', 'ksm.run refused'],
  )
  assert.match(tuning.outcomes[1]?.reason ?? '', /could not be noted \(ENOENT\)/)
  assert.equal(host.read(`${ksm}/run`), '0')
})

test('a host without KSM or zswap is told of, and nothing else stops', async (t) => {
  const host = newHost(t, { [`${zswap}/enabled`]: 'N\n' })

  const { outcomes } = await host.apply({ ksm: { run: true }, zswap: { enabled: true } })

  assert.deepEqual(
    outcomes.map(({ setting, state }) => [setting, state]),
    [
      ['ksm.run', 'absent'],
      ['zswap.enabled', 'applied'],
    ],
  )
})

test('without configuration nothing is touched', async (t) => {
  const host = newHost(t, hostFiles)

  const tuning = await host.apply({})
  await tuning.giveBack()

  assert.deepEqual(tuning.outcomes, [])
  assert.equal(host.read(`${ksm}/run`), '0')
})
