/** A guest with 3D: what it asks for is drawn by Mesa on a render node of the lab (vgem, so on the CPU), in a cage that has that node and no more. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import { openWorld } from '../../e2e/machine/world.ts'
import { needs } from '../../tools/require.ts'
import { create, makeGuest, untilDone } from '../testing/device-guest.ts'
import { sh } from '../testing/shell.ts'

/** What the guest does: it loads the driver of its card, and says what that has found. A console on it would be drawn by emulated CPUs, for a minute. */
const cardInit = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
exec >/dev/ttyS0 2>&1
for module in $(/bin/busybox cat /modules); do
  parameters=
  [ $module = drm_kms_helper.ko ] && parameters=fbdev_emulation=0
  /bin/busybox insmod /m/$module $parameters
done
until [ -e /dev/dri/card0 ]; do /bin/busybox sleep 0.2; done
/bin/busybox dmesg | /bin/busybox grep -i 'drm'
echo all done
while :; do /bin/busybox sleep 60; done
`

test('a guest has 3D in a cage with a render node, beside one without; its memory is not kept', {
  skip: needs('lab', 'root', 'qemu'),
}, async (t) => {
  await using world = await openWorld(t)
  const kernel = await makeGuest(world.place.base, cardInit, ['virtio_gpu'])
  const spec = {
    accelerator: 'kvm',
    memory: { size: '192MiB' },
    boot: { kernel: { ...kernel, cmdline: 'console=ttyS0 quiet' } },
  } as const
  const vm = await create(world, 'web1', { ...spec, devices: { display: 'virtio-gl' } })
  const plain = await create(world, 'db1', { ...spec, devices: { display: 'virtio' } })
  await assert.rejects(vm.start(), /VM web1 has 3D .*the host has no render node .*vgem/)

  await sh('modprobe vgem')
  t.after(() => sh('modprobe -r vgem'))
  const node = join('/dev/dri', readdirSync('/dev/dri').find((name) => name.startsWith('renderD')) ?? '')
  assert.match((await world.cli('host', 'show')).stdout, new RegExp(`3D +usable: ${node} renders`))
  await vm.start()
  await plain.start()

  const { status } = await vm.show()
  assert.equal(status.renderNode, node)
  const seenBy = async (one: typeof vm, folder: string) =>
    readdirSync(`/proc/${await one.pid()}/root/${folder}`)
  assert.deepEqual(await seenBy(vm, 'dev/dri'), [basename(node)])
  assert.deepEqual([await seenBy(plain, 'dev/dri'), await seenBy(plain, 'sys')], [[], []])
  assert.match(readFileSync(`/proc/${status.pid}/maps`, 'utf8'), /libgallium/)
  await vm.assertCaged()
  await plain.assertCaged()
  await plain.powerOff()

  await assert.rejects(vm.save(), /has 3D .*its memory is not saved/)
  const { stderr } = await world.cli('snapshot', 'create', 'web1', 'first', '--memory')
  assert.match(stderr, /has 3D .*its memory is not kept/)
  assert.match(await untilDone(vm, 1), /features: \+virgl/)
  await vm.powerOff()
  await world.assertCleanAudit()
})
