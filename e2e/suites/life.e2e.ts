/** The life of a VM, from creation to deletion, as its owner sees it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { needs } from '../../tools/require.ts'
import { openWorld } from '../machine/world.ts'

const skip = needs('root', 'qemu')

test('a VM is created, boots, runs a command, is powered off and deleted', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.createTiny('web1', { cpu: { count: 2 } })
  assert.equal(await vm.state(), 'shutoff')

  await vm.start()
  await vm.waitForLogin()
  assert.equal(await vm.shell('nproc'), '2')
  assert.equal(await vm.state(), 'running')
  await world.assertCleanAudit()

  await vm.powerOff()
  const { status } = await vm.show()
  assert.equal(`${status.state}: ${status.reason}`, 'shutoff: it was powered off')

  await vm.delete()
  await assert.rejects(vm.show(), { code: 'vm-not-found' })
})
