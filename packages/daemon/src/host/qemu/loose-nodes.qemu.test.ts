import assert from 'node:assert/strict'
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { QmpClient } from '@kvasir/qmp'
import { startEmulator } from '@kvasir/qmp/testing/emulator'
import { needs } from '../../../../../tools/require.ts'
import { deviceId } from '../../model/qemu/ids.ts'
import { removeLooseNodes } from './loose-nodes.ts'
import { deviceIds } from './peripherals.ts'

const skip = needs('qemu')
const disk = 'data'
const rounds = 10

test('the nodes of a disk whose device is still being freed go with it, on a port and on a controller of its own', {
  skip,
}, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-loose-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const filename = join(folder, 'disk.raw')
  await writeFile(filename, '')
  await truncate(filename, 2 ** 20)
  const native = ['-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off']
  const port = ['-device', 'pcie-root-port,id=port0,chassis=1']
  await using emulator = await startEmulator(['-machine', 'q35', ...native, ...port])
  using monitor = await QmpClient.connect({ path: emulator.path })
  const add = (device: Record<string, string>) => monitor.executeUntyped('device_add', device)
  const [id, drive] = [deviceId('disk', disk), `disk-${disk}`]
  const scsi = { driver: 'virtio-scsi-pci', id: deviceId('scsi', disk), bus: 'port0' }
  const ways = [
    { asked: id, devices: [{ driver: 'virtio-blk-pci', id, drive, bus: 'port0' }] },
    { asked: scsi.id, devices: [scsi, { driver: 'scsi-hd', id, drive, bus: `${scsi.id}.0` }] },
  ]

  for (let round = 0; round < rounds; round++) {
    const way = ways[round % ways.length]
    assert.ok(way)
    await monitor.execute('blockdev-add', { driver: 'file', 'node-name': `file-${disk}`, filename })
    await monitor.execute('blockdev-add', { driver: 'raw', 'node-name': drive, file: `file-${disk}` })
    for (const device of way.devices) await add(device)
    await monitor.execute('device_del', { id: way.asked }) // No guest has switched its port on, so none is asked.
    assert.ok(!(await deviceIds(monitor)).includes(id))

    await removeLooseNodes(monitor, disk)

    assert.deepEqual((await monitor.execute('query-named-block-nodes', { flat: true })).length, 0)
  }
})
