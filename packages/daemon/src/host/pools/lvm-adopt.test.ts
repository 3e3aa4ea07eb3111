/** A logical volume of others is taken and left as it was while a pool is looked at, which opens whatever bears its mark. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inactiveOf, poolTag, type SeenLvm } from '../../model/storage/lvm-place.ts'
import type { LogicalVolume } from '../../model/storage/lvm-report.ts'
import type { WordsBefore } from '../../ports/pools.ts'
import { adoptLv, giveBackLv } from './lvm-adopt.ts'

const id = '00000000-0000-4000-8000-000000000001'
const where = { vg: 'vg0', thinPool: undefined }
const theirs: LogicalVolume = {
  name: 'theirs',
  sizeBytes: 2 ** 22,
  tags: ['someone'],
  isThinPool: false,
  isOtherPool: false,
  isActive: false,
  trouble: '',
  pool: undefined,
  origin: undefined,
  thinId: undefined,
  dataShare: undefined,
  metadataShare: undefined,
  zeroes: false,
}

/** A volume group that carries out what lvchange(8) is told, and is looked at after each change. */
function openGroup(lv: LogicalVolume) {
  let now = lv
  const seen = (): SeenLvm => ({
    group: {
      name: 'vg0',
      sizeBytes: 2 ** 30,
      freeBytes: 2 ** 29,
      extentBytes: 2 ** 22,
      tags: [poolTag(id)],
      missingDevices: 0,
      volumeCount: 1,
    },
    volumes: [now],
  })
  const change = async (command: string, ...args: readonly string[]) => {
    assert.deepEqual([command, args.at(-1)], ['lvchange', 'vg0/theirs'])
    const [order, tag = ''] = args
    if (order === '--addtag') now = { ...now, tags: [...now.tags, tag] }
    if (order === '--deltag') now = { ...now, tags: now.tags.filter((one) => one !== tag) }
    if (order === '-ay' || order === '-an') now = { ...now, isActive: order === '-ay' }
    if (inactiveOf(where, seen(), id).length > 0) now = { ...now, isActive: true }
  }
  return { id, where, tools: { change }, seen, lv: () => now }
}

for (const before of [
  theirs,
  { ...theirs, isActive: true },
  { ...theirs, isActive: true, tags: ['someone', poolTag(id)] },
])
  test(`one that was ${before.isActive ? 'open' : 'closed'} and bore ${before.tags.join(' and ')} is so again, also when the pool is looked at meanwhile`, async () => {
    const group = openGroup(before)
    const noted: WordsBefore[] = []
    await adoptLv(group.lv(), group, (words) => void noted.push(words))
    assert.ok(group.lv().isActive && group.lv().tags.includes(poolTag(id)))

    const [words = []] = noted
    const giveBack = () => giveBackLv('theirs', words, { ...group, seen: group.seen() })
    const asBefore = [before.isActive, new Set(before.tags)]

    await giveBack()

    assert.deepEqual([group.lv().isActive, new Set(group.lv().tags)], asBefore)
    await giveBack()
    assert.deepEqual([group.lv().isActive, new Set(group.lv().tags)], asBefore)
  })
