/** A disk that is encrypted under a real guest: what it writes lies nowhere in the clear, and the passphrase is nowhere to be found. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endpoints, KvasirError } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { assertNowhere, filesWith } from '../machine/secrecy.ts'
import { openWorld } from '../machine/world.ts'

const skip = needs('root', 'qemu', 'passt')
const passphrase = 'Correct-Horse-7f3a91'
const mib = 2 ** 20

test('a guest has an encrypted disk from its start and one that is plugged; nobody else can read either', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const { client } = world
  await client.call(endpoints.createSecret, { body: { name: 'luks', value: passphrase } })
  const params = { pool: 'default' }
  for (const name of ['boot', 'more'])
    await client.call(endpoints.createVolume, {
      params,
      body: { name, size: 16 * mib, encrypt: 'luks' },
      timeoutMs: 300_000,
    })
  const vm = await world.bootTiny('web1', { disks: [{ name: 'boot', volume: 'boot' }] })
  const { spec } = await vm.show()
  await vm.apply({ ...spec, disks: [...spec.disks, { name: 'more', volume: 'more' }] })
  await eventually(async () => (await vm.shell('ls /sys/block')).includes('vdb'), {
    withinMs: 60_000,
    what: 'the guest sees the plugged disk',
  })
  await vm.shell('for disk in vda vdb; do echo nobody-reads-this >/dev/$disk; done; sync')

  await assertNowhere(world, passphrase)
  assert.deepEqual(
    filesWith(world, 'nobody-reads-this').filter((path) => path.endsWith('.qcow2')),
    [],
  )
  const shown = await client.call(endpoints.getVolume, { params: { ...params, volume: 'boot' } })
  assert.deepEqual(shown.encryption, { secret: 'luks' })
  await assert.rejects(
    client.call(endpoints.deleteSecret, { params: { secret: 'luks' } }),
    (error) => error instanceof KvasirError && error.code === 'in-use' && /volume boot/.test(error.message),
  )
  await vm.powerOff()
  await vm.start()
  await vm.waitForLogin(2)
  assert.equal(
    await vm.shell('head -c 17 /dev/vda; head -c 17 /dev/vdb'),
    'nobody-reads-thisnobody-reads-this',
  )
})
