/** As many disks as one controller of virtio-scsi takes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { needs } from '../../tools/require.ts'
import { setDisks } from '../machine/crash-steps.ts'
import { eventually } from '../machine/eventually.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld } from '../machine/world.ts'

const most = 255
const atBoot = most - 3
/** Linux takes memory for each disk that it finds, so the 128 MiB that do for a tiny guest are too few for 255 (decision 26). */
const memory = { size: '384MiB' }

const lun = (number: number) =>
  ({ name: `lun${number}`, size: '1MiB', bus: 'virtio-scsi', controller: 'shelf' }) as const
const luns = Array.from({ length: most }, (_, index) => lun(index))

/** The serials of the disks that the guest has. */
async function serialsOf(vm: VmHandle): Promise<ReadonlySet<string>> {
  const words = await vm.shell("cat /sys/block/sd*/device/vpd_pg80 | tr -c 'a-z0-9' '\\n'")
  return new Set(words.split('\n').filter((word) => word.startsWith('lun')))
}

test('a guest has all 255 LUNs of a controller, of which some came while it ran', {
  skip: needs('root', 'qemu'),
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { memory, disks: luns.slice(0, atBoot) })
  const untilThere = (count: number) =>
    eventually(async () => (await serialsOf(vm)).size === count, {
      withinMs: 60_000,
      what: `the guest has ${count} disks`,
    })
  await untilThere(atBoot)

  await setDisks(world, 'web1', luns)

  await untilThere(most)
  assert.deepEqual((await vm.show()).status.restartNeeded, [])
  await assert.rejects(setDisks(world, 'web1', [...luns, lun(most)]), /shelf/)
})
