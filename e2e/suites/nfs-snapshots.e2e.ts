/** Snapshots of a disk on an NFS server that QEMU speaks to itself: their layers lie in a pool of files, and go back when the VM is off. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { openNfsServer } from '../../tools/servers/nfs-server.ts'
import { snapshotsOf } from '../machine/snapshots.ts'
import { openWorld } from '../machine/world.ts'

const skip = needs('root', 'qemu', 'ganesha')

test('what was written over snapshots goes into the file on the server when they are deleted, of a VM that is off', {
  skip,
}, async (t) => {
  await using server = await openNfsServer()
  await using world = await openWorld(t)
  const flags = ['--type', 'nfs', '--server', server.address, '--export', server.folder, '--direct']
  const created = await world.cli('pool', 'create', 'shared', ...flags)
  assert.equal(created.code, 0, created.stderr)
  const body = { name: 'data', size: 16 * 2 ** 20, format: 'raw' as const }
  await world.client.call(endpoints.createVolume, { params: { pool: 'shared' }, body })
  const vm = await world.bootTiny('web1', {
    disks: [{ name: 'data', pool: 'shared', volume: 'data' }],
    nics: [],
  })
  const [file = ''] = readdirSync(server.folder).filter((name) => name.endsWith('.raw'))
  const held = () => readFileSync(join(server.folder, file)).subarray(0, 5).toString()
  const write = (text: string) => vm.shell(`echo '${text}' | dd of=/dev/vda conv=fsync 2>/dev/null`)
  const snapshots = snapshotsOf(world, vm)
  for (const word of ['first', 'other']) {
    await write(word)
    await snapshots.create(word)
  }
  await write('third')
  await vm.powerOff()
  assert.equal(held(), 'first')

  await snapshots.delete('first')
  assert.equal(held(), 'other')
  await snapshots.delete('other')
  assert.equal(held(), 'third')

  await vm.start()
  await vm.waitForLogin(2)
  assert.equal(await vm.shell('head -c 5 /dev/vda'), 'third')
  await world.assertCleanAudit()
})
