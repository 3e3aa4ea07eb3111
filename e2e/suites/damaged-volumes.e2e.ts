/** A qcow2 file whose header is damaged: who needs it is refused with its volume, what is wrong, and what helps; nothing else happens. */
import assert from 'node:assert/strict'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')

/** Where things lie in the header: docs/interop/qcow2.txt of QEMU. */
const damages: readonly {
  readonly what: string
  readonly harm: (path: string) => void
  readonly says: RegExp
  readonly isMendable?: true
  /** What helps, where that is neither a repair nor a backup alone. */
  readonly helps?: RegExp
}[] = [
  {
    what: 'its magic is gone',
    harm: (path) => patch(path, 0, [0, 0, 0, 0]),
    says: /does not begin as a qcow2/,
  },
  { what: 'it is empty', harm: (path) => truncateSync(path, 0), says: /does not begin as a qcow2/ },
  { what: 'it ends in its header', harm: (path) => truncateSync(path, 60), says: /header that is cut off/ },
  { what: 'it is of version 9', harm: (path) => patch(path, 4, [0, 0, 0, 9]), says: /version of qcow2 that/ },
  {
    what: 'its table of reference counts lies nowhere',
    harm: (path) => patch(path, 48, [0, 0, 1, 0, 0, 0, 0x30, 0x39]),
    says: /its table of reference counts/,
  },
  {
    what: 'its table of clusters lies nowhere',
    harm: (path) => patch(path, 40, [0xff, 0, 0, 0, 0, 0, 0, 7]),
    says: /its table of clusters/,
  },
  {
    what: 'it is marked as corrupt',
    harm: (path) => patch(path, 72, [0, 0, 0, 0, 0, 0, 0, 2]),
    says: /marked as corrupt/,
    isMendable: true,
  },
  {
    what: 'its table of reference counts lies behind its end',
    harm: (path) => patch(path, 48, [0, 0, 0, 1, 0, 0, 0, 0]),
    says: /ends before its table of reference counts/,
    isMendable: true,
  },
  {
    what: 'it was cut short before its table of clusters',
    harm: (path) => truncateSync(path, 3 * 65_536),
    says: /ends before its table of clusters \(L1\), so that it would read as empty/,
    helps: /`kvasir volume check data\d` tells how bad it is, and only a backup/,
  },
]

function patch(path: string, offset: number, bytes: readonly number[]): void {
  const all = readFileSync(path)
  all.set(bytes, offset)
  writeFileSync(path, all)
}

async function createVolume(world: World, name: string): Promise<string> {
  const { path = '' } = await world.client.call(endpoints.createVolume, {
    params: { pool: 'default' },
    body: { name, size: 16 * 2 ** 20, format: 'qcow2' },
  })
  return path
}

/** What lost its clusters is left as it is, and told of by a check, which finds no fault with what reads as zeros. */
async function assertKept(world: World, name: string): Promise<void> {
  const { path = '' } = await world.client.call(endpoints.getVolume, {
    params: { pool: 'default', volume: name },
  })
  const before = readFileSync(path)
  for (const verb of ['repair', 'check']) {
    const run = await world.cli('volume', verb, name)
    assert.equal(run.code, 1, verb)
    assert.match(run.stderr, /ends before its table .* Restore it from a backup or another copy/)
    assert.ok(readFileSync(path).equals(before), verb)
  }
}

test('a VM does not start on a damaged qcow2 file, and is told of the disk, the volume, the damage and the remedy', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const running = await world.bootTiny('web2')
  for (const [index, { what, harm, says, isMendable, helps }] of damages.entries()) {
    const name = `data${index}`
    harm(await createVolume(world, name))
    const vm = await world.createTiny('web1', { disks: [{ name: 'more', volume: name }] })
    const remedy = isMendable
      ? new RegExp(`kvasir volume repair ${name}`)
      : (helps ?? /volume check.*volume repair.*restore it from a backup/)

    const refusal = await world.cli('vm', 'start', 'web1')
    assert.equal(refusal.code, 1, what)
    for (const pattern of [
      says,
      remedy,
      new RegExp(`Disk more lies on volume ${name}, which`),
      /does not run/,
    ])
      assert.match(refusal.stderr, pattern, what)
    assert.doesNotMatch(refusal.stderr, /blockdev|qemu-system/, what)
    const { state, reason } = (await vm.show()).status
    assert.equal(state, 'shutoff')
    assert.match(reason, says)
    await vm.delete({ disks: false })

    const plugged = await world.cli('vm', 'disk', 'add', 'web2', `volume=${name},name=more`)
    assert.equal(plugged.code, 1, what)
    for (const pattern of [
      says,
      remedy,
      new RegExp(`Disk more lies on volume ${name}, which`),
      /is not plugged/,
    ])
      assert.match(plugged.stderr, pattern, what)
    assert.equal((await world.cli('vm', 'disk', 'remove', 'web2', 'more')).code, 0)
    await running.isCounting()
    const { spec } = await running.show()
    assert.deepEqual(
      spec.disks.map((disk) => disk.name),
      [],
    )
    if (helps) await assertKept(world, name)
    if (!isMendable) continue
    const mended = await world.cli('volume', 'repair', name)
    assert.equal(mended.code, 0, mended.stderr)
    const again = await world.cli('vm', 'disk', 'add', 'web2', `volume=${name},name=more`)
    assert.equal(again.code, 0, again.stderr)
    assert.equal((await world.cli('vm', 'disk', 'remove', 'web2', 'more')).code, 0)
  }
})
