import assert from 'node:assert/strict'
import { test } from 'node:test'
import { vmSpec } from '@kvasir/contract'
import fc from 'fast-check'
import {
  type HugepageReading,
  missingPages,
  type NodePages,
  type PageWant,
  pagesAtPlace,
  requirePageSize,
  reservationFailed,
  tooFewPages,
  wantedPages,
} from './hugepages.ts'

const gib = 2 ** 30
const want: PageWant = { vm: 'web1', pageBytes: 2 ** 21, pages: 100, nodes: [], policy: 'bind' }
const node = (number: number, free: number, availableBytes = 8 * gib, total = free): NodePages => ({
  node: number,
  total,
  free,
  availableBytes,
})

test('a VM wants as many pages as its memory has, or none', () => {
  const spec = (memory: object) => vmSpec.parse({ memory })

  assert.equal(wantedPages('a', spec({ size: '1GiB' })), undefined)
  assert.equal(wantedPages('a', spec({ size: '1GiB', pageSize: '2MiB' }))?.pages, 512)
  assert.equal(wantedPages('a', spec({ size: '2GiB', pageSize: '1GiB' }))?.pages, 2)
})

test('pages of any node serve a VM that names none', () => {
  assert.deepEqual(missingPages(want, [node(0, 60), node(1, 40)]), [])
  assert.deepEqual(missingPages(want, [node(0, 60, gib), node(1, 30, 2 * gib)]), [{ node: 1, pages: 10 }])
})

test('pages of another node do not serve a VM that is bound', () => {
  const nodes = [node(0, 100), node(1, 5)]

  assert.deepEqual(missingPages({ ...want, nodes: [1] }, nodes), [{ node: 1, pages: 95 }])
  assert.deepEqual(missingPages({ ...want, nodes: [1], policy: 'preferred' }, nodes), [])
  assert.deepEqual(missingPages({ ...want, nodes: [0, 1], policy: 'interleave' }, nodes), [
    { node: 1, pages: 45 },
  ])
})

test('a guest that spans nodes has of each what it was shown', () => {
  const part = (number: number, memoryBytes: number) => ({
    node: number,
    hostNode: number,
    memoryNode: number,
    vcpus: [number],
    memoryBytes,
  })
  const guest = {
    sockets: 1,
    cores: 2,
    threads: 1,
    nodes: [part(0, 2 ** 27), part(1, 2 ** 26)],
    distances: [],
  }
  const threads = { vcpus: [], ioThreads: [], memoryNodes: [0, 1] }

  const placed = pagesAtPlace({ ...want, pages: 96 }, { threads, guest })

  assert.deepEqual(missingPages(placed, [node(0, 0), node(1, 96)]), [{ node: 0, pages: 64 }])
  assert.deepEqual(missingPages(placed, [node(0, 64), node(1, 32)]), [])
  assert.deepEqual(pagesAtPlace({ ...want, nodes: [3] }, { threads, guest }).nodes, [3])
})

test('what is missing is reserved where there is memory, and none is forgotten', () => {
  const amount = fc.integer({ min: 0, max: 300 })
  const anyNodes = fc
    .array(fc.record({ free: amount, room: amount }), { minLength: 1, maxLength: 4 })
    .map((list) => list.map(({ free, room }, index) => node(index, free, room * want.pageBytes)))
  fc.assert(
    fc.property(anyNodes, fc.integer({ min: 1, max: 1000 }), (nodes, pages) => {
      const missing = missingPages({ ...want, pages }, nodes)

      const free = nodes.reduce((sum, pool) => sum + pool.free, 0)
      const sum = missing.reduce((total, part) => total + part.pages, 0)
      assert.equal(sum, Math.max(0, pages - free))
      assert.equal(new Set(missing.map((part) => part.node)).size, missing.length)
      const room = nodes.reduce((total, pool) => total + (pool.availableBytes ?? 0) / want.pageBytes, 0)
      if (sum <= room)
        for (const part of missing)
          assert.ok(
            part.pages * want.pageBytes <= (nodes[part.node]?.availableBytes ?? 0),
            'more than it has',
          )
    }),
  )
})

test('the refusal says how many are missing where and why, who has them and how to get them', () => {
  const reading: HugepageReading = {
    support: 'supported',
    nodes: [node(0, 100), node(1, 0, gib, 64)],
    isNuma: true,
    mayReserve: false,
  }

  const error = tooFewPages({ ...want, nodes: [1] }, reading, [{ vm: 'db1', pages: 64 }])

  assert.equal(error.code, 'not-enough-memory')
  assert.match(error.message, /wants 100 pages of 2 MiB/)
  assert.match(error.message, /100 on node 1, where all 64 that are reserved are taken/)
  assert.match(error.message, /db1 \(64\)/)
  assert.match(
    error.message,
    /echo 164 > \/sys\/devices\/system\/node\/node1\/hugepages\/hugepages-2048kB\/nr_hugepages/,
  )
  const oneNode = { ...reading, nodes: [node(0, 8)], isNuma: false }
  assert.match(
    tooFewPages(want, oneNode, []).message,
    /echo 100 > \/sys\/kernel\/mm\/hugepages\/hugepages-2048kB\/nr_hugepages/,
  )
  assert.deepEqual(error.details['missing'], [{ node: 1, pages: 100, total: 64, free: 0 }])
})

test('a size that the processor or the kernel does not have is named as that', () => {
  const giant = { ...want, pageBytes: gib, pages: 1 }
  const reading = { nodes: [], isNuma: true, mayReserve: true }

  assert.throws(() => requirePageSize(giant, { ...reading, support: 'no-processor' }), /pdpe1gb/)
  assert.throws(() => requirePageSize(giant, { ...reading, support: 'no-kernel' }), { code: 'unsupported' })
  requirePageSize(giant, { ...reading, support: 'supported' })
})

test('memory in pieces is told apart from memory that is short', () => {
  const shortfall = { node: 0, wanted: 10, got: 4 }

  const pieces = reservationFailed(want, { ...shortfall, availableBytes: gib })
  const short = reservationFailed(want, { ...shortfall, availableBytes: 2 ** 21 })

  const slow = reservationFailed(want, { ...shortfall, availableBytes: gib, longestMs: 90_000 })

  assert.match(slow.message, /could reserve 4, since it was still looking for memory after 90 s/)
  assert.match(pieces.message, /pieces that are too small/)
  assert.match(pieces.message, /hugepagesz=2M hugepages=N/)
  assert.equal(pieces.details['fragmented'], true)
  assert.match(short.message, /only 2 MiB is free/)
  assert.equal(short.details['fragmented'], false)
})
