import assert from 'node:assert/strict'
import { test } from 'node:test'
import { heldValue, tunedFiles } from './host-tuning.ts'

test('the scan rate is written while no advisor sets one, and KSM is switched last', () => {
  const names = (advisor: 'none' | 'scan-time') =>
    tunedFiles({ ksm: { run: true, advisor, pagesToScan: 200 } }).map(({ path }) => path.split('/').at(-1))

  assert.deepEqual(names('none'), ['advisor_mode', 'pages_to_scan', 'run'])
  assert.deepEqual(names('scan-time'), ['pages_to_scan', 'advisor_mode', 'run'])
})

test('values are what the kernel takes, and what is not said is not written', () => {
  assert.deepEqual(
    tunedFiles({
      ksm: { run: false, mergeAcrossNodes: false },
      zswap: { enabled: false, maxPoolPercent: 30 },
    }),
    [
      { setting: 'ksm.mergeAcrossNodes', path: '/sys/kernel/mm/ksm/merge_across_nodes', value: '0' },
      { setting: 'ksm.run', path: '/sys/kernel/mm/ksm/run', value: '0' },
      { setting: 'zswap.maxPoolPercent', path: '/sys/module/zswap/parameters/max_pool_percent', value: '30' },
      { setting: 'zswap.enabled', path: '/sys/module/zswap/parameters/enabled', value: 'N' },
    ],
  )
  assert.deepEqual(tunedFiles({}), [])
})

test('of a choice the chosen word is held', () => {
  assert.equal(heldValue('[none] scan-time\n'), 'none')
  assert.equal(heldValue('100\n'), '100')
})
