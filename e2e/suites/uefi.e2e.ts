/** A guest under UEFI with secure boot: it writes variables, which its VM keeps, and which go back with a snapshot. Without it: tpm.e2e.ts. */
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { needs } from '../../tools/require.ts'
import { snapshotsOf } from '../machine/snapshots.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld } from '../machine/world.ts'

const folder = '/sys/firmware/efi/efivars'
const vendor = '6f1d1d2c-52c4-4f83-9a3b-6f2b1f1d7c11'

async function mount(vm: VmHandle): Promise<void> {
  await vm.shell(`modprobe efivarfs && mount -t efivarfs none ${folder}`)
}

/** Writes a variable that stays without power, and is seen by firmware and guest: what 7 means (UEFI 2.10, section 8.2). */
async function write(vm: VmHandle, name: string): Promise<void> {
  await vm.shell(`printf '\\007\\000\\000\\000${name}' >${folder}/${name}-${vendor}`)
}

/** The values of what was written. */
async function written(vm: VmHandle): Promise<string> {
  return await vm.shell(`for file in ${folder}/*-${vendor}; do tail -c +5 $file; echo; done`)
}

test('a guest boots securely; what it writes to its UEFI outlasts its emulator, and goes back with a snapshot', {
  skip: needs('root', 'qemu', 'ovmf'),
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', {
    machine: { firmware: 'uefi', secureBoot: true },
    memory: { size: '256MiB' },
    disks: [{ name: 'data', size: '16MiB' }],
  })
  assert.match(await vm.shell('dmesg | grep -i secure'), /Secure boot enabled/)
  const snapshots = snapshotsOf(world, vm)
  await mount(vm)
  await write(vm, 'then')
  await snapshots.create('one')
  await vm.save()
  await vm.start()
  await write(vm, 'now')
  assert.equal(await written(vm), 'now\nthen')

  await snapshots.revert('one')
  await vm.waitForLogin(2)
  await mount(vm)

  assert.equal(await written(vm), 'then')
  await world.assertCleanAudit()
  await vm.powerOff()
  await snapshots.delete('one')
  await vm.delete()
  assert.deepEqual(await readdir(join(world.place.stateDir, 'nvram')), [])
})
