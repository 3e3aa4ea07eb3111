/** How the memory of real guests is made, as the kernel of the host says it: reserved huge pages, nodes, locking, sharing. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { eventually } from '../../e2e/machine/eventually.ts'
import { guestMapping } from '../../e2e/machine/guest-pages.ts'
import { openWorld } from '../../e2e/machine/world.ts'
import { needs } from '../../tools/require.ts'

const skip = needs('lab', 'root', 'qemu')
const mib = 2 ** 20
const read = (path: string) => readFileSync(path, 'utf8').trim()
const pool = (node: number, pageKib: number) =>
  `/sys/devices/system/node/node${node}/hugepages/hugepages-${pageKib}kB/nr_hugepages`

/** Sets a file of the kernel for the rest of a test. */
function set(t: TestContext, path: string, value: string): void {
  const before = read(path)
  writeFileSync(path, value)
  t.after(() => writeFileSync(path, before))
}

function kibibytes(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? assert.fail(`no ${name}`))
}

/** The line of numa_maps of the memory that has a policy. */
function lineOfPolicy(pid: number, policy: string): string {
  const lines = read(`/proc/${pid}/numa_maps`).split('\n')
  return lines.find((line) => line.includes(` ${policy} `)) ?? assert.fail(`nothing has ${policy}`)
}

test('huge pages of node 1 are reserved for a VM, outlive a killed daemon and a save, and go back', {
  skip,
}, async (t) => {
  const nrFile = pool(1, 2048)
  const before = Number(read(nrFile))
  await using world = await openWorld(t, { environment: { KVASIR_HUGEPAGES: 'reserve' } })
  const vm = await world.bootTiny('web1', { memory: { pageSize: '2MiB', nodes: [1] } })
  const isHuge = async () => {
    const pid = await vm.pid()
    assert.equal(kibibytes(read(`/proc/${pid}/status`), 'HugetlbPages'), 128 * 1024)
    assert.match(lineOfPolicy(pid, 'bind:1'), / huge .*\bN1=64 kernelpagesize_kB=2048/)
    assert.doesNotMatch(lineOfPolicy(pid, 'bind:1'), /\bN0=/)
    assert.equal(Number(read(nrFile)), before + 64)
  }
  await isHuge()
  const counted = await vm.isCounting()

  await world.daemon.kill9()
  await world.startDaemon()
  await vm.untilState('running')
  await isHuge()
  await world.assertCleanAudit()
  await vm.save()
  assert.equal(Number(read(nrFile)), before)
  await vm.start()
  await isHuge()
  assert.ok((await vm.isCounting()) >= counted)
  const held = await eventually(async () => (await vm.show()).status.memory?.host, {
    withinMs: 20_000,
    what: 'the memory is measured',
  })
  assert.deepEqual(
    held.huge.filter(({ kind }) => kind === 'reserved'),
    [{ kind: 'reserved', pageBytes: 2 * mib, bytes: 128 * mib }],
  )
  const pid = await vm.pid()
  await world.daemon.kill9()
  process.kill(pid, 'SIGKILL')
  await world.startDaemon()
  await vm.untilState('crashed')
  assert.equal(Number(read(nrFile)), before)
})

test('a VM lies in a page of 1 GiB', { skip }, async (t) => {
  await using world = await openWorld(t, { environment: { KVASIR_HUGEPAGES: 'reserve' } })
  const vm = await world.createTiny('web1', { memory: { size: '1GiB', pageSize: '1GiB', nodes: [1] } })
  try {
    await vm.start()
  } catch (error) {
    // Node 1 may have no such piece free any more; then that is what is said.
    assert.match(String(error), /of which the kernel could reserve 0, since/)
    return
  }
  const pid = await vm.pid()
  assert.match(lineOfPolicy(pid, 'bind:1'), / huge .*\bN1=1 kernelpagesize_kB=1048576/)
  assert.equal(kibibytes(read(`/proc/${pid}/status`), 'HugetlbPages'), 1024 * 1024)
})

test('huge pages that are missing are refused with their number, node and remedy', { skip }, async (t) => {
  set(t, pool(1, 2048), '8')
  await using world = await openWorld(t)
  const vm = await world.createTiny('web1', { memory: { pageSize: '2MiB', nodes: [1] } })

  await assert.rejects(
    vm.start(),
    (error) =>
      error instanceof KvasirError &&
      error.code === 'not-enough-memory' &&
      /56 on node 1, where 8 of 8 that are reserved are free/.test(error.message) &&
      error.message.includes(`echo 64 > ${pool(1, 2048)}`),
  )
})

test('memory that is bound to node 1 and locked lies there and stays', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { memory: { nodes: [1], lock: true, thp: 'never' } })
  const pid = await vm.pid()

  const line = lineOfPolicy(pid, 'bind:1')

  assert.match(line, /\bN1=32768\b/)
  assert.doesNotMatch(line, /\bN0=/)
  assert.ok(kibibytes(read(`/proc/${pid}/status`), 'VmLck') >= 128 * 1024)
  assert.equal(kibibytes(guestMapping(pid, 128 * mib), 'AnonHugePages'), 0)
})

test('shared memory lies in huge pages, and is saved and loaded', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { memory: { sharing: 'shared', preallocate: true } })
  assert.ok(kibibytes(guestMapping(await vm.pid(), 128 * mib), 'ShmemPmdMapped') > 64 * 1024)
  const counted = await vm.isCounting()

  await vm.save()
  await vm.start()

  assert.ok((await vm.isCounting()) >= counted)
})
