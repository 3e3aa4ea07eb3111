import assert from 'node:assert/strict'
import { test } from 'node:test'
import { vmSpec } from '@kvasir/contract'
import { limitFiles, outsideLimits } from './limit-files.ts'

const parsed = vmSpec.parse({ cpu: { weight: 300 }, memory: { hard: '2GiB' } })
const spec = { ...parsed, memory: { ...parsed.memory, high: 1_000_000_001 } }
const written = limitFiles(spec)

test('a spec has a file for each limit, and for those that it does not set too', () => {
  assert.deepEqual(written, {
    'memory.high': '1000000001',
    'memory.max': '2147483648',
    'memory.swap.max': 'max',
    'cpu.weight': '300',
    'cpu.max': 'max 100000',
  })
})

test('what the kernel rounds and how it ends its lines is nobody’s change', () => {
  const found = { ...written, 'memory.high': '999997440\n', 'cpu.max': 'max 100000\n' }

  assert.deepEqual(outsideLimits({ written, wanted: written, found }), [])
})

test('a limit that somebody set is theirs until the spec says another one for it', () => {
  const found = { ...written, 'memory.max': '3221225472\n', 'cpu.max': '50000 100000\n' }
  const other = limitFiles({ ...spec, memory: { ...spec.memory, hard: 2 ** 30 } })

  assert.deepEqual(
    outsideLimits({ written, wanted: written, found }).map(({ file }) => file),
    ['memory.max', 'cpu.max'],
  )
  assert.deepEqual(outsideLimits({ written, wanted: other, found }), [
    { file: 'cpu.max', found: '50000 100000', written: 'max 100000' },
  ])
})

test('where nobody knows what was written, or the host has no such file, nothing is anybody else’s', () => {
  const found = { 'memory.max': '1' }

  assert.deepEqual(outsideLimits({ written: undefined, wanted: written, found }), [])
  assert.deepEqual(outsideLimits({ written, wanted: written, found: {} }), [])
})
