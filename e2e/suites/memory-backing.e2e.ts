/**
 * Reserved huge pages in the life of a VM: taken, kept over the death of the daemon, given back however the VM ends; and memory that is
 * made in another way each time it is loaded.
 *
 * Not here: nodes, KSM and pages of 1 GiB, which need the lab (lab/suites/memory-backing.lab.ts).
 */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { lacking, needs } from '../../tools/require.ts'
import { openWorld } from '../machine/world.ts'

const poolFolder = '/sys/devices/system/node/node0/hugepages/hugepages-2048kB'
const neededPages = 64
const reserved = () => Number(readFileSync(`${poolFolder}/nr_hugepages`, 'utf8'))
const skip = needs('root', 'qemu')
const skipPages = skip || withoutPages()

/** Why this host reserves no pages for a VM, tried with as many as the test needs. */
function withoutPages(): string | false {
  try {
    const free = Number(readFileSync(`${poolFolder}/free_hugepages`, 'utf8'))
    if (free > 0) return lacking('hugepages', `${free} pages are free, so none would be reserved`)
    const before = reserved()
    writeFileSync(`${poolFolder}/nr_hugepages`, String(before + neededPages))
    const got = reserved() - before
    writeFileSync(`${poolFolder}/nr_hugepages`, String(before))
    return got === neededPages ? false : lacking('hugepages', `the kernel reserves ${got} of ${neededPages}`)
  } catch {
    return lacking('hugepages', 'the pool cannot be written')
  }
}

function hugeKib(pid: number): number {
  return Number(/^HugetlbPages:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
}

test('huge pages stay while a VM lives, whoever dies meanwhile, and go back when it ends', {
  skip: skipPages,
}, async (t) => {
  const before = reserved()
  await using world = await openWorld(t, { environment: { KVASIR_HUGEPAGES: 'reserve' } })
  const vm = await world.bootTiny('web1', { memory: { pageSize: '2MiB', nodes: [0] } })
  assert.equal(hugeKib(await vm.pid()), 128 * 1024)
  assert.equal(reserved(), before + neededPages)

  await world.daemon.kill9()
  await world.startDaemon()
  await vm.untilState('running')
  await world.assertCleanAudit()
  assert.equal(reserved(), before + neededPages)

  await vm.save()
  assert.equal(reserved(), before)
  await vm.start()
  assert.equal(hugeKib(await vm.pid()), 128 * 1024)

  const pid = await vm.pid()
  await world.daemon.kill9()
  process.kill(pid, 'SIGKILL')
  await world.startDaemon()
  await vm.untilState('crashed')
  assert.equal(reserved(), before)
})

test('missing huge pages are refused with their number, their node and a remedy', {
  skip: skipPages,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.createTiny('web1', { memory: { pageSize: '2MiB', nodes: [0] } })

  await assert.rejects(
    vm.start(),
    (error) =>
      error instanceof KvasirError &&
      error.code === 'not-enough-memory' &&
      /: 64 on node 0, where/.test(error.message) &&
      error.message.includes(`${poolFolder}/nr_hugepages`),
  )
})

test('saved memory is loaded into memory that is made in another way', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { memory: { sharing: 'shared' } })
  const counted = await vm.isCounting()
  const { spec } = await vm.show()
  await vm.save()

  await vm.apply({ ...spec, memory: { ...spec.memory, sharing: 'private', ksm: false, nodes: [0] } })
  await vm.start()

  assert.ok((await vm.isCounting()) >= counted)
  const { backing } = (await vm.show()).status.memory ?? assert.fail('no memory is shown')
  assert.deepEqual([backing.sharing, backing.ksm, backing.nodes], ['private', false, [0]])
})

test('KSM is taken from a guest that runs, and given again', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')
  const pid = await vm.pid()
  const { spec } = await vm.show()
  const isMergeable = async () => {
    const smaps = await readFile(`/proc/${pid}/smaps`, 'utf8')
    const blocks = smaps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
    const memory = blocks.find((block) => /^Size:\s+131072 kB$/m.test(block)) ?? assert.fail('no memory')
    return /^VmFlags:.* mg /m.test(memory)
  }
  assert.ok(await isMergeable())

  await vm.apply({ ...spec, memory: { ...spec.memory, ksm: false } })

  assert.equal(await isMergeable(), false)
  const { status } = await vm.show()
  assert.deepEqual([status.restartNeeded, status.memory?.backing.ksm], [[], false])
  await world.daemon.kill9()
  await world.startDaemon()
  assert.equal(await isMergeable(), false)
  await vm.apply({ ...spec, memory: { ...spec.memory, ksm: true } })
  assert.ok(await isMergeable())
  assert.equal(await vm.pid(), pid)
  await vm.isCounting()
})
