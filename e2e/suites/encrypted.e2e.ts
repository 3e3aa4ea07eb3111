/** A disk that is encrypted under a real guest: what it writes lies nowhere in the clear, and the passphrase is nowhere to be found. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { endpoints, KvasirError } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { assertNowhere, filesWith } from '../machine/secrecy.ts'
import { openWorld, type World } from '../machine/world.ts'

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

test('a secret that does not fit, or is gone, is told in words, at the start and when a disk is plugged', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const { client } = world
  await client.call(endpoints.createSecret, { body: { name: 'luks', value: passphrase } })
  const kept = onlySecret(world)
  const body = { name: 'data', size: 16 * mib, encrypt: 'luks' }
  await client.call(endpoints.createVolume, { params: { pool: 'default' }, body, timeoutMs: 300_000 })
  const vm = await world.bootTiny('web1', { disks: [{ name: 'data', volume: 'data' }], nics: [] })
  await vm.powerOff()

  writeFileSync(kept, 'what came from elsewhere')
  await assert.rejects(
    vm.start(),
    /The secret of disk data does not open what the disk lies on, so the VM does not run\.$/,
  )
  rmSync(kept)
  await assert.rejects(vm.start(), /The secret of disk data is not kept any more, so the VM does not run\.$/)
  writeFileSync(kept, 'what came from elsewhere', { mode: 0o600 })
  const { spec } = await vm.show()
  await vm.apply({ ...spec, disks: [] })
  await vm.start()
  await vm.waitForLogin(2)
  await vm.apply({ ...spec, disks: [{ name: 'more', volume: 'data' }] })
  const refused = /What disk more lies on is encrypted with another secret than the one that is kept for it/
  await eventually(async () => refused.test(JSON.stringify(await client.call(endpoints.listJobs))), {
    withinMs: 60_000,
    what: 'the disk was not plugged',
  })
  writeFileSync(kept, passphrase)
  await vm.apply({ ...(await vm.show()).spec, disks: [] })
  await vm.apply({ ...(await vm.show()).spec, disks: [{ name: 'again', volume: 'data' }] })
  await eventually(async () => (await vm.shell('ls /sys/block')).includes('vd'), {
    withinMs: 60_000,
    what: 'the guest sees the plugged disk',
  })
})

test('what is uploaded is encrypted on its way, and a secret that does not fit or is gone is told', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const [path, back] = ['plain.img', 'back.img'].map((name) => join(world.place.base, name))
  assert.ok(path !== undefined && back !== undefined)
  const contents = Buffer.alloc(4 * mib)
  for (const at of [0, 3 * mib]) contents.write('nobody-reads-this', at)
  writeFileSync(path, contents)
  await world.client.call(endpoints.createSecret, { body: { name: 'luks', value: passphrase } })
  const kept = onlySecret(world)
  const upload = (...more: readonly string[]) => world.cli('volume', 'upload', path, ...more)

  for (const format of ['raw', 'qcow2']) {
    const { code, stderr } = await upload(format, '--as', format, '--encrypt', 'luks')
    assert.equal(code, 0, stderr)
    await world.cli('volume', 'download', format, back, '--force')
    assert.ok(readFileSync(back).equals(contents), format)
    const params = { pool: 'default', volume: format }
    const { path: file = '' } = await world.client.call(endpoints.getVolume, { params })
    assert.ok(!readFileSync(file).includes('nobody-reads-this'), format)
  }
  assert.match((await upload('more', '--encrypt', 'none')).stderr, /There is no secret none/)
  writeFileSync(kept, 'what came from elsewhere')
  const refused = await upload('raw', '--force')
  assert.match(refused.stderr, /The secret of volume raw does not open it/)
  rmSync(kept)
  const gone = await upload('more', '--encrypt', 'luks')
  assert.match(gone.stderr, /secret/)
  assert.equal(gone.code, 3, gone.stderr)
})

/** The file of the one secret that is kept. */
function onlySecret(world: World): string {
  const folder = join(world.place.stateDir, 'secrets')
  const [name, ...others] = readdirSync(folder)
  assert.ok(name !== undefined && others.length === 0)
  return join(folder, name)
}
