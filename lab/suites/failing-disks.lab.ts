/** Disks of the host that fail under a guest (the device mapper's error target), told as each disk's spec says. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { eventually } from '../../e2e/machine/eventually.ts'
import { openWorld } from '../../e2e/machine/world.ts'
import { needs } from '../../tools/require.ts'
import { sh } from '../testing/shell.ts'
import { newVolumeGroup } from '../testing/volume-group.ts'

const skip = needs('lab', 'root', 'qemu')
const mib = 2 ** 20
const params = { pool: 'fast' }

/** A device that can be made to fail each request, and to take them again. */
async function mappedDevice(path: string): Promise<{ fail(): Promise<void>; heal(): Promise<void> }> {
  const name = await sh(`dmsetup info --columns --noheadings -o name ${path}`)
  const sound = await sh(`dmsetup table ${name}`)
  const change = (table: string) =>
    sh(
      `dmsetup suspend --noflush ${name} && dmsetup load ${name} --table '${table}' && dmsetup resume ${name}`,
    )
  const [begin, sectors] = sound.split(' ')
  return {
    async fail() {
      await change(`${begin} ${sectors} error`)
    },
    async heal() {
      await change(sound)
    },
  }
}

test('a disk that fails pauses its VM, which says so and goes on with nothing lost, or is told to the guest, or kept from it', {
  skip,
}, async (t) => {
  const vg = await newVolumeGroup(t, 128)
  await using world = await openWorld(t)
  await world.client.call(endpoints.createPool, { body: { type: 'lvm', name: 'fast', vg } })
  const policies = ['pause', 'report', 'ignore'] as const
  for (const name of policies)
    await world.client.call(endpoints.createVolume, { params, body: { name, size: 16 * mib } })
  const disks = policies.map((onError, place) => ({
    name: `disk${place}`, // The guest has them in the order of their names.
    pool: 'fast',
    volume: onError,
    onError,
  }))
  const vm = await world.bootTiny('web1', { disks })
  const device = async (volume: string) =>
    await mappedDevice(
      (await world.client.call(endpoints.getVolume, { params: { ...params, volume } })).path ?? '',
    )
  const [pausing, reporting, ignoring] = [
    await device('pause'),
    await device('report'),
    await device('ignore'),
  ]
  const write = (disk: string) =>
    `dd if=/dev/zero of=/dev/${disk} bs=64k count=16 conv=fsync 2>/dev/null; echo $?`

  await reporting.fail()
  await ignoring.fail()
  assert.equal(await vm.shell(write('vdb')), '1')
  assert.equal(await vm.shell(write('vdc')), '0')
  assert.match(await vm.shell('head -c 4096 /dev/vdb 2>&1 >/dev/null; true'), /Input\/output error/)
  assert.equal((await vm.show()).status.state, 'running')
  await reporting.heal()
  assert.equal(await vm.shell(write('vdb')), '0')

  await pausing.fail()
  await vm.shell(
    '(yes paused | head -c 4194304 >/tmp/written; dd if=/tmp/written of=/dev/vda bs=64k conv=fsync; echo $? >/tmp/code) >/dev/null 2>&1 & true',
  )
  const failing = await vm.untilState('paused', { withinMs: 60_000 })
  assert.equal(failing.status.reason, 'io-error, disk disk0 did not take a request')
  await vm.resume().catch(() => undefined)
  await vm.untilState('paused', { withinMs: 60_000 })
  await pausing.heal()
  await vm.resume()
  await eventually(async () => ((await vm.run('cat /tmp/code')).stdout.trim() === '0' ? true : undefined), {
    withinMs: 60_000,
    what: 'the guest has written all',
  })
  assert.equal(
    await vm.shell(
      'dd if=/dev/vda bs=64k count=64 iflag=direct 2>/dev/null | cmp - /tmp/written && echo same',
    ),
    'same',
  )
  await ignoring.heal()
})
