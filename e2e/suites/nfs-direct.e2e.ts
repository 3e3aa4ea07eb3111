/**
 * Disks on an NFS server that QEMU speaks to itself: grown, plugged, with snapshots, and with the server stopped under a running guest. All in
 * one file: a host has one portmapper, which knows of one server.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { endpoints, KvasirError } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { openNfsServer } from '../../tools/servers/nfs-server.ts'
import { eventually } from '../machine/eventually.ts'
import { snapshotsOf } from '../machine/snapshots.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu', 'ganesha')
const mib = 2 ** 20
const params = { pool: 'shared' }

test('a guest has a disk on an export that nobody mounts, a server that stands still holds up nobody else, and nothing is lost', {
  skip,
}, async (t) => {
  await using server = await openNfsServer()
  await using world = await openWorld(t)
  const others = putOthers(server.folder)
  const flags = ['--type', 'nfs', '--server', server.address, '--export', server.folder, '--direct']
  const created = await world.cli('pool', 'create', 'shared', ...flags)
  assert.equal(created.code, 0, created.stderr)
  await lookIntoOthers(world)
  for (const path of others) rmSync(path)
  const body = { name: 'data', size: 32 * mib, format: 'raw' as const }
  await world.client.call(endpoints.createVolume, { params, body })
  const [file = ''] = readdirSync(server.folder).filter((name) => name.endsWith('.raw'))
  const held = () => readFileSync(join(server.folder, file)).subarray(0, 16).toString()
  const write = (text: string) => vm.shell(`echo '${text}' | dd of=/dev/vda conv=fsync 2>/dev/null`)
  const vm = await world.bootTiny('web1', { disks: [{ name: 'data', ...params, volume: 'data' }] })

  await write('before it')
  assert.match(held(), /^before it/)
  const { pid } = (await vm.show()).status
  assert.notEqual(readlinkSync(`/proc/${pid}/ns/net`), readlinkSync('/proc/self/ns/net'))
  const target = { params: { ...params, volume: 'data' }, body: { size: 64 * mib } }
  await world.client.call(endpoints.resizeVolume, target)
  assert.equal(statSync(join(server.folder, file)).size, 64 * mib)
  assert.equal(await vm.shell('cat /sys/block/vda/size'), String((64 * mib) / 512))

  server.stop()
  try {
    const pool = await world.client.call(endpoints.startPool, { params })
    assert.equal(pool.state, 'unreachable')
    assert.match((await vm.show()).status.poolTrouble?.[0]?.reason ?? '', /does not answer/)
    await assert.rejects(
      world.client.call(endpoints.createVolume, { params, body: { ...body, name: 'more' } }),
      (error) => {
        return error instanceof KvasirError && error.code === 'pool-unreachable'
      },
    )
    await world.client.call(endpoints.createVolume, { params: { pool: 'default' }, body })
    assert.equal((await vm.show()).status.state, 'running')
  } finally {
    server.goOn()
  }
  const isBack = async () => (await world.client.call(endpoints.startPool, { params })).state === 'active'
  await eventually(isBack, { withinMs: 60_000, what: 'the pool answers again' })
  await world.daemon.kill9()
  await world.startDaemon()
  assert.equal((await vm.untilState('running')).status.pid, pid)
  await eventually(isBack, { withinMs: 60_000, what: 'the next daemon has the pool' })
  await write('after it!')
  assert.match(held(), /^after it!/)

  await vm.powerOff()
  await vm.delete({ disks: true })
  assert.deepEqual(readdirSync(server.folder), ['.kvasir-pool'])
  await world.client.call(endpoints.deletePool, { params })
  assert.deepEqual(readdirSync(server.folder), [])
})

test('a refresh of an export whose server hangs ends in time, and all else is answered meanwhile', {
  skip,
}, async (t) => {
  await using server = await openNfsServer()
  await using world = await openWorld(t)
  putOthers(server.folder)
  const flags = ['--type', 'nfs', '--server', server.address, '--export', server.folder, '--direct']
  for (const argv of [
    ['create', 'shared', ...flags],
    ['refresh', 'shared'],
  ]) {
    const run = await world.cli('pool', ...argv)
    assert.equal(run.code, 0, run.stderr)
  }
  const vm = await world.bootTiny('web1', { disks: [{ name: 'data', size: 16 * mib }], nics: [] })

  server.stop()
  try {
    const startedAt = performance.now()
    const hung = Promise.all([1, 2].map(() => world.cli('pool', 'refresh', 'shared')))
    const answers = await answeredUntil(hung, async () => {
      await world.client.call(endpoints.refreshPool, { params: { pool: 'default' } })
      assert.equal((await vm.show()).status.state, 'running')
      await vm.shell('dd if=/dev/zero of=/dev/vda bs=4k count=1 conv=fsync 2>/dev/null')
    })
    assert.ok(answers.times >= 3 && answers.longestMs < 2_500, JSON.stringify(answers))
    for (const { code, stderr } of await hung) {
      assert.notEqual(code, 0)
      assert.match(stderr, /Pool shared cannot be looked at: it does not answer in time/)
    }
    assert.ok(performance.now() - startedAt < 15_000)
  } finally {
    server.goOn()
  }

  await eventually(async () => (await world.cli('pool', 'refresh', 'shared')).code === 0, {
    withinMs: 60_000,
    what: 'a refresh ends well again',
  })
  const { state, findings = [] } = await world.client.call(endpoints.getPool, { params })
  assert.equal(state, 'active')
  assert.deepEqual(findings.map(({ file }) => file).toSorted(), ['packed.img', 'plain.img'])
})

test('what was written over snapshots goes into the file on the server when they are deleted, of a VM that is off', {
  skip,
}, async (t) => {
  await using server = await openNfsServer()
  await using world = await openWorld(t)
  const flags = ['--type', 'nfs', '--server', server.address, '--export', server.folder, '--direct']
  const created = await world.cli('pool', 'create', 'shared', ...flags)
  assert.equal(created.code, 0, created.stderr)
  const body = { name: 'data', size: 16 * mib, format: 'raw' as const }
  await world.client.call(endpoints.createVolume, { params: { pool: 'shared' }, body })
  const vm = await world.bootTiny('web1', {
    disks: [{ name: 'data', pool: 'shared', volume: 'data' }],
    nics: [],
  })
  const [file = ''] = readdirSync(server.folder).filter((name) => name.endsWith('.raw'))
  const held = () => readFileSync(join(server.folder, file)).subarray(0, 5).toString()
  const write = (text: string) => vm.shell(`echo '${text}' | dd of=/dev/vda conv=fsync 2>/dev/null`)
  const snapshots = snapshotsOf(world, vm)
  for (const word of ['first', 'other']) {
    await write(word)
    await snapshots.create(word)
  }
  await write('third')
  await vm.powerOff()
  assert.equal(held(), 'first')

  await snapshots.delete('first')
  assert.equal(held(), 'other')
  await snapshots.delete('other')
  assert.equal(held(), 'third')

  await vm.start()
  await vm.waitForLogin(2)
  assert.equal(await vm.shell('head -c 5 /dev/vda'), 'third')
  await world.assertCleanAudit()
})

/** Asks again and again until something is over: how often, and how long the longest took. */
async function answeredUntil(over: Promise<unknown>, ask: () => Promise<void>) {
  let isOver = false
  const end = over.finally(() => (isOver = true))
  let [times, longestMs] = [0, 0]
  while (!isOver) {
    const startedAt = performance.now()
    await ask()
    longestMs = Math.max(longestMs, performance.now() - startedAt)
    times += 1
  }
  await end
  return { times, longestMs }
}

/** Files of others, there before the server looks, which knows of none that come behind its back for a while. */
function putOthers(folder: string): readonly string[] {
  const [packed, plain] = [join(folder, 'packed.img'), join(folder, 'plain.img')]
  execFileSync('qemu-img', [
    'create',
    '-q',
    '-f',
    'qcow2',
    '-u',
    '-b',
    '/etc/passwd',
    '-F',
    'raw',
    packed,
    '1M',
  ])
  writeFileSync(plain, Buffer.alloc(4096))
  return [packed, plain]
}

/** A refresh says what they are, by their first bytes. */
async function lookIntoOthers(world: World): Promise<void> {
  const { findings = [] } = await world.client.call(endpoints.refreshPool, { params })

  const details = Object.fromEntries(findings.map(({ file, detail }) => [file, detail]))
  assert.match(details['packed.img'] ?? '', /begins like a qcow2 image, .* imported by force alone/)
  assert.match(details['plain.img'] ?? '', /can be imported as raw\.$/)
}
