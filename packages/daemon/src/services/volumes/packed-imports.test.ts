/** Files that hold a disk and are not its contents, offered as raw volumes, on the simulated host. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPool } from '@kvasir/contract'
import { openSimulatedDaemon } from '../../testing/simulated-daemon.ts'

const mib = 2 ** 20
const path = '/srv/fast'
const blockBytes = 4096

/** A block of a file with a word in it. */
function block(word: string, offset: number): Uint8Array {
  const bytes = new Uint8Array(blockBytes)
  bytes.set(Buffer.from(word, 'latin1'), offset)
  return bytes
}

test('an image, and a VHD of fixed size by its footer, is no raw volume but by force', async () => {
  await using world = await openSimulatedDaemon()
  await world.call('createPool', { body: newPool.parse({ type: 'dir', name: 'fast', path }) })
  const there = { capacityBytes: mib, allocatedBytes: 1, basePath: undefined, folder: path }
  for (const file of ['vmdk', 'vhd', 'raw'])
    world.machine.volumes.set(`their-${file}`, { ...there, file: `${file}.img` })
  world.machine.contents.set('their-vmdk', new Map([[0, block('KDMV', 0)]]))
  const last = mib / blockBytes - 1
  world.machine.contents.set('their-vhd', new Map([[last, block('conectix', blockBytes - 512)]]))
  const take = (name: string, force = false) =>
    world.call('importVolume', {
      params: { pool: 'fast' },
      body: { name, file: `${name}.img`, format: 'raw', force },
    })

  await assert.rejects(take('vmdk'), { code: 'image-refused', message: /is a VMDK image/ })
  await assert.rejects(take('vhd'), { code: 'image-refused', message: /a VHD image of fixed size.*truncate/ })

  assert.ok(world.machine.volumes.has('their-vhd'), 'it is as it was')
  assert.equal((await take('vhd', true)).name, 'vhd')
  assert.equal((await take('raw')).name, 'raw')
})
