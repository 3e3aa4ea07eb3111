/** What LVM 2.03.31 said of a volume group with a thin pool in it, read. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  contentsOf,
  inactiveOf,
  keptTag,
  markOf,
  poolTag,
  spaceOf,
  thinShortage,
  volumeIdOf,
} from './lvm-place.ts'
import { parseGroups, parseVolumes, rowsIn } from './lvm-report.ts'

const mib = 2 ** 20
const id = '00000000-0000-4000-8000-000000000001'

const vgs = {
  report: [
    {
      vg: [
        {
          vg_name: 'vg0',
          vg_size: '415236096',
          vg_free: '289406976',
          vg_extent_size: '4194304',
          vg_tags: `kvasir.made,kvasir.pool=${id}`,
          vg_missing_pv_count: '0',
          lv_count: '4',
        },
      ],
    },
  ],
  log: [],
}

const nothingSaid = {
  lv_tags: '',
  lv_health_status: '',
  pool_lv: '',
  origin: '',
  metadata_percent: '',
  thin_id: '',
}

const lvs = {
  report: [
    {
      lv: [
        {
          ...nothingSaid,
          lv_name: `kvasir-${id}`,
          lv_size: '12582912',
          lv_tags: `kvasir.pool=${id}`,
          data_percent: '',
          lv_active: 'active',
          zero: 'unknown',
          lv_layout: 'linear',
        },
        {
          ...nothingSaid,
          lv_name: 'snap',
          lv_size: '314572800',
          pool_lv: 'pool0',
          origin: 'thin',
          data_percent: '',
          lv_active: '',
          zero: 'zero',
          lv_layout: 'thin,sparse',
          lv_tags: `kvasir.pool=${id}`,
        },
        {
          ...nothingSaid,
          lv_name: 'thin',
          lv_size: '314572800',
          pool_lv: 'pool0',
          data_percent: '12.50',
          lv_active: 'active',
          zero: 'zero',
          lv_layout: 'thin,sparse',
        },
        {
          ...nothingSaid,
          lv_name: 'pool0',
          lv_size: '104857600',
          data_percent: '50.00',
          metadata_percent: '10.94',
          lv_active: 'active',
          zero: 'zero',
          lv_layout: 'thin,pool',
        },
      ],
    },
  ],
  log: [],
}

const [group] = parseGroups(vgs, 'vg')
assert.ok(group)
const seen = { group, volumes: parseVolumes(lvs) }
const onGroup = { vg: 'vg0', thinPool: undefined }
const onThin = { vg: 'vg0', thinPool: 'pool0' }

/** With other things said of the thin pool. */
function withPool(changed: { data_percent?: string; metadata_percent?: string; lv_health_status?: string }) {
  const lv = lvs.report.flatMap((part) =>
    part.lv.map((row) => (row.lv_name === 'pool0' ? { ...row, ...changed } : row)),
  )
  return { group: seen.group, volumes: parseVolumes({ report: [{ lv }] }) }
}

test('a volume group has room in it, and a thin pool what of its data is not taken', () => {
  assert.deepEqual(spaceOf(onGroup, seen), {
    capacityBytes: 396 * mib,
    allocatedBytes: 120 * mib,
    availableBytes: 276 * mib,
    concerns: [],
  })
  assert.deepEqual(spaceOf(onThin, seen), {
    capacityBytes: 100 * mib,
    allocatedBytes: 50 * mib,
    availableBytes: 50 * mib,
    concerns: [],
  })
})

test('what lies in a thin pool is no volume of the group, and the pool is none either', () => {
  const names = (place: typeof onThin | typeof onGroup) => contentsOf(place, seen).map(({ name }) => name)
  assert.deepEqual(names(onGroup), [`kvasir-${id}`])
  assert.deepEqual(names(onThin), ['snap', 'thin'])
  assert.deepEqual(inactiveOf(onThin, seen, id), ['snap'])
})

test('what is kept for a moment stays closed when a pool opens its volumes', () => {
  const volumes = seen.volumes.map((one) =>
    one.name === 'snap' ? { ...one, tags: [...one.tags, keptTag] } : one,
  )
  assert.deepEqual(inactiveOf(onThin, { group, volumes }, id), [])
})

test('a volume is ours by its tag, not by its name', () => {
  const [ours] = seen.volumes
  assert.ok(ours)
  assert.equal(volumeIdOf(ours, id), id)
  assert.equal(volumeIdOf({ ...ours, tags: [poolTag('another')] }, id), undefined)
  assert.equal(volumeIdOf({ ...ours, name: 'home' }, id), undefined)
})

test('the mark of a pool is on the group, or on the thin pool, which may be gone', () => {
  assert.deepEqual(markOf(onGroup, seen), ['kvasir.made', poolTag(id)])
  assert.deepEqual(markOf(onThin, seen), [])
  assert.equal(markOf({ vg: 'vg0', thinPool: 'gone' }, seen), undefined)
  assert.equal(markOf({ vg: 'vg0', thinPool: 'thin' }, seen), undefined, 'A thin volume is no thin pool.')
})

test('metadata that runs out, trouble and missing devices are told', () => {
  const concerns = (changed: Parameters<typeof withPool>[0]) =>
    spaceOf(onThin, withPool(changed)).concerns.map(({ health, remark }) => `${health}: ${remark}`)
  assert.deepEqual(concerns({ metadata_percent: '79.99' }), [])
  assert.match(concerns({ metadata_percent: '80.00' }).join(), /^warning: 80 % of the metadata/)
  assert.match(concerns({ metadata_percent: '95.00' }).join(), /^bad: 95 % .*poolmetadatasize/)
  assert.match(concerns({ lv_health_status: 'out_of_data' }).join(), /^bad: .*out_of_data/)
  const broken = { ...seen, group: { ...seen.group, missingDevices: 1 } }
  assert.equal(spaceOf(onGroup, broken).concerns[0]?.health, 'bad')
})

test('a thin pool takes what fits and refuses what does not', () => {
  assert.equal(thinShortage(onThin, seen, 50 * mib - 1), undefined)
  assert.equal(thinShortage(onThin, seen, 50 * mib)?.freeBytes, 50 * mib)
  assert.equal(thinShortage(onThin, withPool({ data_percent: '100.00' }), 0)?.freeBytes, 0)
})

test('what is no report is refused, whatever it is', () => {
  assert.equal(rowsIn({ report: [{ vg: [] }], log: [{ log_message: 'none' }] }), 0)
  assert.equal(rowsIn(vgs), 1)
  for (const value of [undefined, null, {}, { report: 1 }, { report: [{ vg: [{}] }] }])
    assert.throws(() => parseGroups(value, 'vg'))
  fc.assert(
    fc.property(
      fc.record({ report: fc.array(fc.record({ lv: fc.array(fc.dictionary(fc.string(), fc.string())) })) }),
      (value) => {
        try {
          for (const volume of parseVolumes(value)) assert.ok(Number.isSafeInteger(volume.sizeBytes))
        } catch (error) {
          assert.equal(error instanceof Error && error.constructor.name.includes('ZodError'), true)
        }
      },
    ),
  )
})
