import assert from 'node:assert/strict'
import { test } from 'node:test'
import { vmSpec } from '@kvasir/contract'
import { startScriptedDaemon } from '@kvasir/sdk/testing/scripted-daemon'
import { kvasir, vmNamed } from '../testing/run-command-line.ts'

test('the disks of a VM are listed with the format, the size and the pool of what they are on', async () => {
  const { disks } = vmSpec.parse({
    disks: [
      { name: 'root', volume: 'web1-root' },
      { name: 'data', volume: 'gone', pool: 'fast', size: '1GiB', format: 'raw' },
      { name: 'cd', device: 'cdrom', bus: 'sata' },
    ],
  })
  const web1 = vmNamed('web1')
  const volume = {
    name: 'web1-root',
    pool: 'default',
    format: 'qcow2',
    capacityBytes: 3 * 2 ** 30,
    usedBy: ['web1'],
    createdAt: '2026-01-01T00:00:00Z',
  }
  await using daemon = await startScriptedDaemon({
    request: ({ path }) =>
      path === '/v1/volumes' ? { json: [volume] } : { json: { ...web1, spec: { ...web1.spec, disks } } },
  })

  const { stdout, stderr } = await kvasir(['vm', 'disk', 'list', 'web1'], daemon)

  assert.equal(stderr, '')
  assert.deepEqual(
    stdout.split('\n').map((line) => line.trimEnd().split(/ {2,}/)),
    [
      ['DISK', 'BUS', 'FORMAT', 'SIZE', 'CACHE', 'LIMITS', 'POOL', 'VOLUME'],
      ['root', 'virtio-blk', 'qcow2', '3 GiB', 'auto', '-', 'default', 'web1-root'],
      ['data', 'virtio-blk', 'raw', '-', 'auto', '-', 'fast', 'gone'],
      ['cd', 'sata CD-ROM', '-', '-', 'auto', '-', 'default', 'empty'],
      [''],
    ],
  )
})
