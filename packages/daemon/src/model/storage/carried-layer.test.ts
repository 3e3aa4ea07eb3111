/** What layers become in the pool that their disk moves to. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { carriedLayer, type LayersPlace } from './carried-layer.ts'

const lowest = { format: 'raw', baseId: undefined } as const
const upper = { format: 'qcow2', baseId: 'lowest' } as const
const places: readonly LayersPlace[] = [
  { kind: 'files' },
  { kind: 'native' },
  { kind: 'ground', liesIn: 'layers' },
]

test('what lies on nothing is whole wherever it goes, and goes on being an overlay of an image only among files', () => {
  const carried = places.map((place) => carriedLayer({ format: 'qcow2', baseId: undefined }, place))

  assert.deepEqual(
    carried.map(({ format, on, keepsImage, liesIn }) => [format, on, keepsImage, liesIn]),
    [
      ['qcow2', 'nothing', true, undefined],
      ['raw', 'nothing', false, undefined],
      ['raw', 'nothing', false, undefined],
    ],
  )
  assert.equal(carriedLayer(lowest, { kind: 'files' }).format, 'raw')
})

test('what lies on a layer is an overlay of its copy, in files, or a clone of it where the pool has snapshots of its own', () => {
  const carried = places.map((place) => carriedLayer(upper, place))

  assert.deepEqual(
    carried.map(({ format, on, keepsImage, liesIn }) => [format, on, keepsImage, liesIn]),
    [
      ['qcow2', 'overlay', false, undefined],
      ['raw', 'clone', false, undefined],
      ['qcow2', 'overlay', false, 'layers'],
    ],
  )
})
