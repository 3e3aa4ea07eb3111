import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ChainVolume, chainOf } from './chain.ts'

const paths = {
  source: ({ id, format }: ChainVolume) => ({ path: `/v/${id}`, format }),
  imageDisk: (id: string) => `/i/${id}`,
}

function volume(id: string, base?: string, image?: string): ChainVolume {
  return { id, name: id, pool: 'default', format: 'qcow2', baseId: base, imageId: image }
}

test('a chain runs from the volume over its bases to its image', () => {
  const all = new Map([volume('b', 'c'), volume('c', undefined, 'img')].map((v) => [v.id, v]))

  const chain = chainOf(volume('a', 'b'), (id) => all.get(id), paths)

  assert.deepEqual(
    chain.map((link) => (link.kind === 'protocol' ? '' : link.path)),
    ['/v/a', '/v/b', '/v/c', '/i/img'],
  )
})

test('a circle of volumes is refused', () => {
  const all = new Map([volume('a', 'b'), volume('b', 'a')].map((v) => [v.id, v]))

  assert.throws(() => chainOf(volume('a', 'b'), (id) => all.get(id), paths), { code: 'store-damaged' })
})

test('a missing ancestor is refused', () => {
  assert.throws(() => chainOf(volume('a', 'b'), () => undefined, paths), { code: 'store-damaged' })
})
