/** What volumes of a thin pool hold at one moment, kept by the thin pool itself (lvm-moment.pl). */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { openTestJail } from '../../packages/daemon/src/host/jail/testing/test-jail.ts'
import { createLvmPool } from '../../packages/daemon/src/host/pools/lvm-pool.ts'
import { needs } from '../../tools/require.ts'
import { sh } from '../testing/shell.ts'
import { newVolumeGroup } from '../testing/volume-group.ts'

const mib = 2 ** 20

test('what thin volumes hold at one moment is kept, and one that could not be taken leaves nothing behind', {
  skip: needs('lab', 'root', 'qemu'),
}, async (t) => {
  const vg = await newVolumeGroup(t)
  await using jail = await openTestJail()
  const source = { type: 'lvm-thin', vg, devices: [], thinPool: 'pool0', sizeBytes: 200 * mib } as const
  const pool = createLvmPool({ id: randomUUID(), source, jailed: jail.jailed, onUnreachable: () => {} })
  const { moments } = pool
  assert.ok(moments)
  await pool.claim({ force: false })
  const keyOf = (number: number) =>
    ({ id: `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`, format: 'raw' }) as const
  const pairs = [1, 2].map((number) => ({ origin: keyOf(number), copy: keyOf(number + 10) }))
  const write = (number: number, text: string) =>
    sh(`printf ${text} | dd of=/dev/${vg}/kvasir-${keyOf(number).id} conv=fsync status=none`)
  const read = (number: number) => sh(`head -c 5 /dev/${vg}/kvasir-${keyOf(number).id}`)
  for (const { origin } of pairs) await pool.createEmpty(origin, { capacityBytes: 8 * mib })
  const kept = () => Promise.all(pairs.map((pair) => moments.isKept(pair)))
  for (const number of [1, 2]) await write(number, 'first')

  {
    await using _ = await moments.open(pairs) // Given up before the moment.
  }
  assert.deepEqual(await kept(), [false, false])
  assert.equal(await pool.allocatedBytes(keyOf(11)), undefined)
  await pool.inspect() // Opens nothing that cannot be opened.
  for (const pair of pairs) await moments.letGo(pair)
  assert.equal((await pool.list()).length, 2)

  {
    await using moment = await moments.open(pairs)
    await moment.take()
  }
  await sh(`dmsetup suspend --noflush ${vg}-kvasir--${keyOf(1).id.replaceAll('-', '--')}`) // As a death in between leaves it.
  assert.deepEqual(await kept(), [true, true])
  for (const number of [1, 2]) await write(number, 'later')
  for (const { copy, origin } of pairs) await pool.createClone(copy, origin)
  assert.deepEqual(await Promise.all([1, 2, 11, 12].map(read)), ['later', 'later', 'first', 'first'])
  assert.deepEqual(await kept(), [false, false])
  for (const pair of pairs) await moments.letGo(pair)
  assert.equal((await pool.list()).length, 4)

  const missing = { origin: keyOf(3), copy: keyOf(13) }
  await assert.rejects(moments.open([missing]), { code: 'file-not-found' })
  for (const { origin, copy } of pairs) {
    await pool.remove(origin) // Neither needs the other.
    await pool.remove(copy)
  }
  assert.deepEqual(await pool.list(), [])
})
