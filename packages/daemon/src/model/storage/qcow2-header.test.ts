import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import fc from 'fast-check'
import { emptyQcow2 } from './empty-qcow2.ts'
import { parseQcow2Header, tableBehindEnd, tablesHeaderBytes } from './qcow2-header.ts'

function header(changes: (view: DataView) => void = () => {}): Uint8Array {
  const bytes = new Uint8Array(512)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, 0x514649fb)
  view.setUint32(4, 3)
  view.setUint32(20, 16)
  view.setBigUint64(24, 1n << 30n)
  view.setUint32(100, 112)
  changes(view)
  return bytes
}

function refusal(bytes: Uint8Array): string {
  try {
    parseQcow2Header('/v.qcow2', bytes)
    return ''
  } catch (error) {
    assert.ok(error instanceof KvasirError && error.code === 'image-refused')
    return error.message
  }
}

test('a sound header tells capacity and base', () => {
  const name = new TextEncoder().encode('/images/base')
  const bytes = header((view) => {
    view.setBigUint64(8, 200n)
    view.setUint32(16, name.length)
  })
  bytes.set(name, 200)

  assert.deepEqual(parseQcow2Header('/v', bytes), {
    capacityBytes: 2 ** 30,
    backingFile: '/images/base',
    isEncrypted: false,
  })
  assert.deepEqual(parseQcow2Header('/v', header()), {
    capacityBytes: 2 ** 30,
    backingFile: undefined,
    isEncrypted: false,
  })
})

test('a header says whether what is on it is encrypted with LUKS', () => {
  assert.equal(
    parseQcow2Header(
      '/v',
      header((view) => view.setUint32(32, 2)),
    ).isEncrypted,
    true,
  )
})

test('what a header must not have is named', () => {
  assert.match(refusal(new Uint8Array(10)), /not a qcow2 image/)
  assert.match(refusal(header((view) => view.setUint32(4, 9))), /unknown version 9/)
  assert.match(refusal(header((view) => view.setUint32(32, 1))), /encryption that is not known/)
  assert.match(refusal(header((view) => view.setBigUint64(72, 4n))), /data in another file/)
  assert.match(refusal(header((view) => view.setBigUint64(72, 2n))), /corrupt/)
  assert.match(refusal(header((view) => view.setBigUint64(72, 1n << 40n))), /features/)
  assert.match(refusal(header((view) => view.setBigUint64(24, 1n << 63n))), /beyond all bounds/)
  const farName = header((view) => {
    view.setBigUint64(8, 1n << 60n)
    view.setUint32(16, 20)
  })
  assert.match(refusal(farName), /no proper name/)
})

test('no bytes make the parser do anything but answer or refuse', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (noise, keepMagic) => {
      const bytes = keepMagic ? header() : noise
      if (keepMagic) bytes.set(noise.subarray(0, 400), 8)
      refusal(bytes)
    }),
  )
})

const clusterBytes = 65_536

/** A header whose tables lie where it is said: the cluster that each begins with, and how many entries or clusters it has. */
function tables(places: {
  readonly refcounts?: readonly [cluster: number, clusters: number]
  readonly clusters?: readonly [cluster: number, entries: number]
  readonly snapshots?: readonly [cluster: number, entries: number]
}): Uint8Array {
  return header((view) => {
    const at = ([cluster]: readonly [number, number]) => BigInt(cluster * clusterBytes)
    const { refcounts = [1, 1], clusters = [3, 2], snapshots = [0, 0] } = places
    view.setUint32(36, clusters[1])
    view.setBigUint64(40, at(clusters))
    view.setBigUint64(48, at(refcounts))
    view.setUint32(56, refcounts[1])
    view.setUint32(60, snapshots[1])
    view.setBigUint64(64, at(snapshots))
  })
}

test('a table that does not lie within the file is named', () => {
  const fileBytes = 3 * clusterBytes + 16
  const found = (places: Parameters<typeof tables>[0]) => tableBehindEnd(tables(places), fileBytes)

  assert.equal(found({}), undefined)
  assert.equal(found({ refcounts: [4, 1] }), 'refcounts')
  assert.equal(found({ refcounts: [3, 2] }), 'refcounts')
  assert.equal(found({ clusters: [4, 1] }), 'clusters')
  assert.equal(found({ clusters: [3, clusterBytes / 8] }), undefined) // The rest of its cluster reads as zeros.
  assert.equal(found({ clusters: [3, clusterBytes / 8 + 1] }), 'clusters')
  assert.equal(found({ snapshots: [4, 1] }), 'snapshots')
  assert.equal(found({ snapshots: [4, 0] }), undefined)
  assert.throws(() => parseQcow2Header('/v', tables({ clusters: [9, 1] }), fileBytes), {
    code: 'image-refused',
    message: /table of clusters \(L1\) lies behind its end/,
  })
})

test('an empty file of any size is whole, and one that was cut short before its tables is not', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2 ** 35 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (sectors, cut) => {
        const { fileBytes, parts } = emptyQcow2({ capacityBytes: sectors * 512, base: undefined })
        const bytes = new Uint8Array(tablesHeaderBytes)
        bytes.set(parts[0]?.bytes.subarray(0, tablesHeaderBytes) ?? [])
        const view = new DataView(bytes.buffer)
        const ends = [
          Number(view.getBigUint64(48)) + view.getUint32(56) * clusterBytes,
          Number(view.getBigUint64(40)) + view.getUint32(36) * 8,
        ]
        const left = Math.floor(fileBytes * cut)

        assert.equal(tableBehindEnd(bytes, fileBytes), undefined)
        const isWhole = ends.every((end) => Math.ceil(left / clusterBytes) * clusterBytes >= end)
        assert.equal(tableBehindEnd(bytes, left) === undefined, isWhole)
      },
    ),
  )
})

test('tables that lie anywhere are found behind the end exactly when they are', () => {
  const place = fc.tuple(fc.nat({ max: 64 }), fc.nat({ max: 40_000 }))
  fc.assert(
    fc.property(
      fc.record({ refcounts: place, clusters: place, snapshots: place }),
      fc.nat(5_000_000),
      (all, fileBytes) => {
        const end = Math.ceil(fileBytes / clusterBytes) * clusterBytes
        const isBehind = ([at, count]: readonly [number, number], each: number) =>
          count > 0 && at * clusterBytes + count * each > end
        const expected = isBehind(all.clusters, 8)
          ? 'clusters'
          : isBehind(all.refcounts, clusterBytes)
            ? 'refcounts'
            : isBehind(all.snapshots, 40)
              ? 'snapshots'
              : undefined

        assert.equal(tableBehindEnd(tables(all), fileBytes), expected)
      },
    ),
  )
})

test('no bytes and no size make the look at the tables do anything but answer', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), fc.maxSafeNat(), (noise, fileBytes) => {
      const bytes = header()
      bytes.set(noise, 8)
      for (const one of [noise, bytes]) tableBehindEnd(one, fileBytes)
    }),
  )
})
