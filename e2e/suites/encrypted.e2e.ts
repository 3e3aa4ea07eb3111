/** A disk that is encrypted under a real guest: what it writes lies nowhere in the clear, and the passphrase is nowhere to be found. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { endpoints, KvasirError } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu', 'passt')
const passphrase = 'Correct-Horse-7f3a91'
const mib = 2 ** 20

/** The processes of the host whose arguments or environment hold a text. */
function processesWith(text: string): readonly string[] {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return []
    return ['cmdline', 'environ'].flatMap((name) => {
      try {
        return readFileSync(join('/proc', pid, name)).includes(text) ? [`${pid} ${name}`] : []
      } catch {
        return [] // It has ended meanwhile.
      }
    })
  })
}

/** The files of a world that hold a text, but for what keeps secrets. */
function filesWith(world: World, text: string): readonly string[] {
  const found = execFileSync(
    '/bin/sh',
    ['-c', 'grep -rlaF -D skip --exclude-dir=root -e "$1" "$2" || true', 'sh', text, world.place.base],
    {
      encoding: 'utf8',
      maxBuffer: 16 * mib,
    },
  )
  return found.split('\n').filter((path) => path !== '' && !/\/secrets\/[^/]+$/.test(path))
}

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

  assert.deepEqual(processesWith(passphrase), [])
  assert.deepEqual(filesWith(world, passphrase), [])
  assert.deepEqual(
    filesWith(world, 'nobody-reads-this').filter((path) => path.endsWith('.qcow2')),
    [],
  )
  const shown = await client.call(endpoints.getVolume, { params: { ...params, volume: 'boot' } })
  assert.deepEqual(shown.encryption, { secret: 'luks' })
  for (const name of [endpoints.deleteSecret])
    await assert.rejects(
      client.call(name, { params: { secret: 'luks' } }),
      (error) => error instanceof KvasirError && error.code === 'in-use' && /volume boot/.test(error.message),
    )
  await vm.powerOff()
  await vm.start()
  await vm.waitForLogin(2)
  assert.equal(
    await vm.shell('head -c 17 /dev/vda; head -c 17 /dev/vdb'),
    'nobody-reads-thisnobody-reads-this',
  )
  await assert.rejects(
    client
      .call(endpoints.createSnapshot, { params: { name: 'web1' }, body: { name: 'one' } })
      .then(async ({ id }) => {
        const job = await client.call(endpoints.getJob, { params: { id }, query: { wait: 30 } })
        if (job.error) throw new KvasirError(job.error.code, job.error.detail)
      }),
    (error) => error instanceof KvasirError && error.code === 'unsupported',
  )
})
