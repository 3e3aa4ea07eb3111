/** A store that is damaged while VMs run: what can be recovered is, what cannot is said, and no VM is lost or started twice. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { cp, readdir, readFile, rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { runRefusedDaemon } from '../machine/daemon.ts'
import { emulatorsByVm } from '../machine/host-emulators.ts'
import type { Place } from '../machine/place.ts'
import { openWorld } from '../machine/world.ts'

const skip = needs('root', 'qemu')

const storePath = (place: Place) => join(place.stateDir, 'kvasir.db')

const damages: readonly { what: string; sql: readonly string[]; memo?: 'lost' }[] = [
  {
    what: 'a flipped character',
    sql: ['UPDATE vms SET content = replace(content, \'"phase":"ready"\', \'"phase":"ruady"\')'],
  },
  { what: 'a record cut in half', sql: ['UPDATE vms SET content = substr(content, 1, length(content) / 2)'] },
  {
    what: 'a record and its history cut in half',
    sql: [
      'UPDATE vms SET content = substr(content, 1, length(content) / 2)',
      'UPDATE vms_history SET content = substr(content, 1, length(content) / 2)',
    ],
  },
  {
    what: 'a record, its history and the memo beside the emulator lost',
    sql: ["UPDATE vms SET content = ''", 'DELETE FROM vms_history'],
    memo: 'lost',
  },
]

for (const { what, sql, memo } of damages) {
  test(`a running VM survives ${what}`, { skip }, async (t) => {
    await using world = await openWorld(t)
    const vm = await world.bootTiny('web1')
    const before = await vm.isCounting()
    const { uuid, status } = await vm.show()
    const { lastEventSeq } = await world.client.call(endpoints.getStatus)

    await world.daemon.kill9()
    damage(world.place, sql)
    if (memo === 'lost') await rm(join(world.place.runtimeDir, 'vms', uuid, 'memo.json'))
    await world.startDaemon()

    const found = (await world.client.call(endpoints.listVms)).find((each) => each.uuid === uuid)
    assert.ok(found, 'The VM is listed.')
    const recovered = world.vm(found.name)
    await recovered.untilState('running')
    assert.equal(await recovered.pid(), status.pid)
    assert.ok((await recovered.isCounting()) > before)
    assert.equal(await recovered.boots(), 1)
    assert.deepEqual([...(await emulatorsByVm(world.place)).values()], [[status.pid]])
    if (memo !== 'lost') assert.equal(found.name, 'web1')
    if (memo !== 'lost') assert.equal(found.spec.memory.size, 128 * 2 ** 20)

    const states = (await world.client.call(endpoints.listEvents, { query: { after: lastEventSeq } }))
      .filter(({ kind }) => kind === 'vm.state')
      .map(({ data }) => data['state'])
    assert.ok(!states.includes('shutoff') && !states.includes('crashed'), `It was ${states.join(', ')}.`)
    await assert.rejects(recovered.start(), { code: 'wrong-state' })
  })
}

test('a damaged record of a VM whose emulator stands still is unknown, and nothing is started', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')
  const pid = await vm.pid()

  process.kill(pid, 'SIGSTOP')
  await world.daemon.kill9()
  damage(world.place, ['UPDATE vms SET content = substr(content, 1, 100)'])
  await world.startDaemon()
  assert.equal(await vm.state(), 'unknown')
  await assert.rejects(vm.start(), { code: 'wrong-state' })

  process.kill(pid, 'SIGCONT')
  await vm.untilState('running', { withinMs: 30_000 })
  assert.equal(await vm.pid(), pid)
})

const ruins: readonly { what: string; ruin: (path: string) => Promise<unknown>; says: RegExp }[] = [
  {
    what: 'cut in half',
    ruin: async (path) => truncate(path, (await readFile(path)).length / 2),
    says: /is damaged/,
  },
  {
    what: 'of a newer Kvasir',
    ruin: async (path) => {
      using store = new DatabaseSync(path)
      store.exec('PRAGMA user_version = 99')
    },
    says: /form 99.*newer Kvasir/,
  },
]

for (const { what, ruin, says } of ruins) {
  test(`a daemon does not start on a store ${what}, and touches nothing`, { skip }, async (t) => {
    await using world = await openWorld(t)
    const vm = await world.bootTiny('web1')
    const path = storePath(world.place)
    const good = join(world.place.base, 'good')
    await world.daemon.stop()
    await cp(world.place.stateDir, good, { recursive: true })

    await ruin(path)
    const before = await storeFiles(world.place)
    const refused = await runRefusedDaemon(world.place)

    assert.equal(refused.code, 1, refused.said)
    assert.match(refused.said, says)
    assert.doesNotMatch(refused.said, /\n\s+at /)
    assert.deepEqual(await storeFiles(world.place), before)

    await cp(join(good, 'kvasir.db'), path)
    for (const suffix of ['-wal', '-shm']) await rm(`${path}${suffix}`, { force: true })
    await world.startDaemon()
    assert.equal(await vm.state(), 'running')
    await vm.isCounting()
  })
}

function damage(place: Place, sql: readonly string[]): void {
  using store = new DatabaseSync(storePath(place))
  for (const statement of sql) store.exec(statement)
}

/** The digests of the store's files. The index of the log (-shm) is made anew by whoever reads. */
async function storeFiles(place: Place): Promise<Readonly<Record<string, string>>> {
  const names = (await readdir(place.stateDir)).filter(
    (name) => name.startsWith('kvasir.db') && !name.endsWith('-shm'),
  )
  const digests = names.toSorted().map(async (name) => {
    const content = await readFile(join(place.stateDir, name))
    return [name, createHash('sha256').update(content).digest('hex')] as const
  })
  return Object.fromEntries(await Promise.all(digests))
}
