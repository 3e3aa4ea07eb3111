/** The port's promises, kept by volume groups and thin pools of the lab; and what LVM alone does. */
import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { openTestJail, type TestJail } from '../../packages/daemon/src/host/jail/testing/test-jail.ts'
import { createLvmPool, type LvmPoolOptions } from '../../packages/daemon/src/host/pools/lvm-pool.ts'
import { testPools } from '../../packages/daemon/src/ports/pools.suite.ts'
import { needs } from '../../tools/require.ts'
import { sh } from '../testing/shell.ts'
import { newDevice, newGroupName, newVolumeGroup } from '../testing/volume-group.ts'

const mib = 2 ** 20
const skip = needs('lab', 'root', 'qemu')
const one = { id: '00000000-0000-4000-8000-000000000001', format: 'raw' } as const
const two = { id: '00000000-0000-4000-8000-000000000002', format: 'raw' } as const
const quiet = { onProgress: () => {}, signal: new AbortController().signal }

const shared: { jail?: TestJail } = {}

before(async () => {
  if (skip === false) shared.jail = await openTestJail()
})

after(() => shared.jail?.[Symbol.asyncDispose]())

function openPool(source: LvmPoolOptions['source'], options: Partial<LvmPoolOptions> = {}) {
  const { jail } = shared
  assert.ok(jail)
  const troubles: string[] = []
  const onUnreachable = (reason: string) => troubles.push(reason)
  const pool = createLvmPool({ id: randomUUID(), source, jailed: jail.jailed, onUnreachable, ...options })
  return { pool, troubles }
}

const onGroup = (vg: string, devices: readonly string[] = []) => ({ type: 'lvm', vg, devices }) as const

function onThin(vg: string, mebibytes: number | undefined = 200) {
  const sizeBytes = mebibytes === undefined ? undefined : mebibytes * mib
  return { type: 'lvm-thin', vg, devices: [], thinPool: 'pool0', sizeBytes } as const
}

function refusedWith(code: KvasirError['code'], pattern = /./) {
  return (error: unknown) =>
    error instanceof KvasirError && error.code === code && pattern.test(error.message)
}

testPools({
  name: 'a volume group',
  skip,
  async open(t) {
    const vg = await newVolumeGroup(t)
    const addForeign = async () => {
      await sh(`lvcreate -y -n others -L 8M ${vg}`)
      return 'others'
    }
    return { pool: openPool(onGroup(vg)).pool, rival: openPool(onGroup(vg)).pool, addForeign }
  },
})

testPools({
  name: 'a thin pool',
  skip,
  async open(t) {
    const vg = await newVolumeGroup(t)
    const addForeign = async () => {
      await sh(`lvcreate -y --type thin -n others -V 8M --thinpool pool0 ${vg}`)
      return 'others'
    }
    return { pool: openPool(onThin(vg)).pool, rival: openPool(onThin(vg)).pool, addForeign }
  },
})

test('a device that holds something is taken by force alone, and one that is mounted by none', {
  skip,
}, async (t) => {
  const vg = newGroupName(t)
  const device = await newDevice(t)
  const { pool } = openPool(onGroup(vg, [device]))
  await sh(`mkfs.ext4 -q -L precious ${device}`)
  await assert.rejects(pool.claim({ force: false }), refusedWith('pool-refused', /ext4 "precious"/))
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-mounted-'))
  await sh(`mount ${device} ${folder}`)
  try {
    await assert.rejects(pool.claim({ force: true }), refusedWith('pool-refused', /is mounted at/))
  } finally {
    await sh(`umount ${folder} && rmdir ${folder}`)
  }
  assert.equal(await sh(`blkid -o value -s LABEL ${device}`), 'precious', 'Nothing was done to it.')
  const root = await sh('findmnt -no SOURCE /')
  await assert.rejects(
    openPool(onGroup(newGroupName(t), [root])).pool.claim({ force: true }),
    refusedWith('pool-refused', /is mounted at \//),
  )

  await pool.claim({ force: true })
  await pool.createEmpty(one, { capacityBytes: 8 * mib })
  await pool.release()
  assert.match(await sh(`lvs --noheadings -o lv_name ${vg}`), /kvasir-/, 'What lies in it stays.')
})

test('what was made for a pool goes with it when nothing is left in it', { skip }, async (t) => {
  const vg = newGroupName(t)
  const device = await newDevice(t)
  const { pool } = openPool({ ...onThin(vg), devices: [device] })
  await pool.claim({ force: false })
  await pool.createEmpty(one, { capacityBytes: 8 * mib })
  await pool.remove(one)

  await pool.release()

  assert.equal(await sh('vgs --noheadings -o vg_name'), '')
})

test('a copy holds what its source held, from a file to a device and from a device to a file of the jail', {
  skip,
}, async (t) => {
  const vg = await newVolumeGroup(t, 64)
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-source-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'image.raw')
  const content = Buffer.concat([randomBytes(3 * mib), Buffer.alloc(3 * mib), randomBytes(2 * mib)])
  await writeFile(path, content)
  const { pool } = openPool(onGroup(vg))
  const { pool: thin } = openPool(onThin(vg, 16))
  await pool.claim({ force: false })
  await thin.claim({ force: false })
  // What a linear volume held before shows through where nothing is written.
  await sh(
    `lvcreate -y -n old -l 100%FREE ${vg} && tr '\\0' x </dev/zero | dd of=/dev/${vg}/old bs=1M conv=fsync || true`,
  )
  await sh(`lvremove -y ${vg}/old`)

  await pool.createCopy(one, [{ path, format: 'raw' }], quiet)
  await thin.createCopy(two, [pool.source(one)], quiet)

  for (const source of [pool.source(one), thin.source(two)]) {
    assert.ok(source.kind === 'device')
    const { length } = content
    const read = await readFile(source.path)
    assert.ok(read.subarray(0, length).equals(content), `${source.path} holds the copy.`)
  }
  assert.ok(Number(await thin.allocatedBytes(two)) < 8 * mib, 'What is zero takes no space.')
  const nodes = join(shared.jail?.cages.directory ?? '', 'nodes')
  assert.equal(await sh(`ls ${nodes}`), '', 'No node of a device is left.')
})

test('a thin clone holds what its origin held at that moment, and goes on without it', {
  skip,
}, async (t) => {
  const vg = await newVolumeGroup(t)
  const { pool } = openPool(onThin(vg))
  await pool.claim({ force: false })
  await pool.createEmpty(one, { capacityBytes: 64 * mib })
  const path = (name: typeof one | typeof two) => {
    const source = pool.source(name)
    assert.ok(source.kind === 'device')
    return source.path
  }
  await sh(`printf first | dd of=${path(one)} conv=fsync`)

  await pool.createClone(two, one)
  await sh(`printf later | dd of=${path(one)} conv=fsync`)
  await pool.remove(one)

  assert.equal(await sh(`head -c 5 ${path(two)}`), 'first')
})

test('a volume shows nothing of what its space held before: new, grown, and grown by one who died', {
  skip,
}, async (t) => {
  const vg = await newVolumeGroup(t, 64)
  const { pool } = openPool(onGroup(vg))
  await pool.claim({ force: false })
  await sh(
    `lvcreate -y -n old -l 100%FREE ${vg} && tr '\\0' x </dev/zero | dd of=/dev/${vg}/old bs=1M || true`,
  )
  await sh(`lvremove -y ${vg}/old`)
  const device = `/dev/${vg}/kvasir-${one.id}`
  const bytesBesideZero = () => sh(`tr -d '\\0' <${device} | wc -c`)

  await pool.createEmpty(one, { capacityBytes: 8 * mib })
  assert.equal(await bytesBesideZero(), '0')
  await pool.resize(one, 16 * mib)
  assert.equal(await bytesBesideZero(), '0')

  const [from, name] = [16 * mib, `${vg}/kvasir-${one.id}`]
  await sh(`lvchange --addtag kvasir.uncleared=${from} ${name} && lvextend --size 24M ${name}`)
  assert.equal(await bytesBesideZero(), String(8 * mib))
  assert.equal(await pool.capacityBytes(one), 24 * mib)
  assert.equal(await bytesBesideZero(), '0')
  assert.doesNotMatch(await sh(`lvs --noheadings -o lv_tags ${name}`), /uncleared/)
})

test('a thin pool that fills up says so, and takes nothing that does not fit', { skip }, async (t) => {
  const vg = await newVolumeGroup(t)
  const { pool } = openPool(onThin(vg, 32))
  await pool.claim({ force: false })
  await pool.createEmpty(one, { capacityBytes: 1024 * mib })
  const source = pool.source(one)
  assert.ok(source.kind === 'device')
  await sh(`tr '\\0' x </dev/zero | head -c 24M | dd of=${source.path} bs=1M oflag=direct iflag=fullblock`)

  const { availableBytes, capacityBytes } = await pool.inspect()

  assert.ok(availableBytes <= 8 * mib && capacityBytes === 32 * mib)
  await assert.rejects(pool.createCopy(two, [source], quiet), refusedWith('not-enough-space'))
  const full = { capacityBytes: 8 * mib, preallocation: 'full' } as const
  await assert.rejects(pool.createEmpty(two, full), refusedWith('unsupported'))
})

test('a volume group without room refuses a volume, and what is closed is opened again', {
  skip,
}, async (t) => {
  const vg = await newVolumeGroup(t, 128)
  const { pool } = openPool(onGroup(vg))
  await pool.claim({ force: false })
  await assert.rejects(pool.createEmpty(one, { capacityBytes: 2 ** 40 }), refusedWith('not-enough-space'))
  await pool.createEmpty(one, { capacityBytes: 8 * mib })
  const active = () => sh(`lvs --noheadings -o lv_active ${vg}/kvasir-${one.id}`)

  await pool.rest?.()
  assert.equal((await active()).trim(), '')
  await pool.inspect()

  assert.equal((await active()).trim(), 'active')
})

test('a logical volume of others is imported on request, and none of another pool', { skip }, async (t) => {
  const vg = await newVolumeGroup(t)
  const [{ pool }, { pool: rival }] = [openPool(onGroup(vg)), openPool(onGroup(vg))]
  await pool.claim({ force: false })
  await sh(`lvcreate -y -n others -L 8M ${vg}`)
  const others = { ...one, file: 'others' } as const
  await pool.remove(others)
  assert.equal(await pool.capacityBytes(others), 8 * mib, 'What is not ours is not removed.')
  const asItIs = () => sh(`lvs --noheadings -o lv_tags,lv_active ${vg}/others`)
  const known = [await asItIs()]
  await sh(`lvchange -an ${vg}/others`)
  known.push(await asItIs())

  let before: readonly string[] = []
  await pool.adopt(others, (words) => {
    before = words
  })
  known.push(await asItIs())
  await pool.giveBack?.('others', before)
  assert.equal(await asItIs(), known[1], 'What was closed and had no mark is so again.')
  await pool.giveBack?.('others', before)
  assert.equal((await pool.adopt(others)).capacityBytes, 8 * mib)

  assert.equal(new Set(known).size, 3, known.join())

  await rival.claim({ force: true })
  await assert.rejects(rival.adopt(others), refusedWith('image-refused', /of pool/))
  await assert.rejects(pool.inspect(), refusedWith('pool-unreachable', /mark/))
})

test('a device that hangs makes its pool unreachable in time, and nobody waits twice', {
  skip,
  timeout: 300_000,
}, async (t) => {
  const [name, vg] = ['kvhang', 'kvtest'].map((stem) => stem + randomBytes(3).toString('hex'))
  t.after(() => sh(`dmsetup resume ${name}; vgchange -an ${vg}; dmsetup remove --retry ${name}`))
  const device = await newDevice(t)
  await sh(
    `dmsetup create ${name} --table "0 $(($(blockdev --getsz ${device}) - 2048)) linear ${device} 2048"`,
  )
  const { pool, troubles } = openPool(onGroup(vg ?? '', [`/dev/mapper/${name}`]), {
    deadlines: { lookMs: 8_000 },
  })
  await sh(`vgcreate -y ${vg} /dev/mapper/${name}`)
  await pool.claim({ force: false })
  await pool.inspect()

  await sh(`dmsetup suspend --noflush ${name}`)
  await assert.rejects(pool.inspect(), refusedWith('pool-unreachable', /did not answer within 8 s/))
  const startedAt = performance.now()
  await assert.rejects(pool.list(), refusedWith('pool-unreachable'))
  assert.ok(performance.now() - startedAt < 1_000, 'What is known to hang is not asked again.')
  assert.equal(troubles.length, 1)

  await sh(`dmsetup resume ${name}`)
  for (;;)
    try {
      await pool.inspect()
      break
    } catch (error) {
      assert.ok(error instanceof KvasirError && error.code === 'pool-unreachable')
    }
})
