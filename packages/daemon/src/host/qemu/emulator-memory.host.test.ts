/** Guest memory as a real QEMU in its cage has it, asked of the kernel. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { lacking, needs } from '../../../../../tools/require.ts'
import { openRealEmulators } from './testing/real-emulators.ts'

const skip = needs('root', 'qemu')
const id = '8f9d6d8e-3a51-4f9e-9d0c-3c8f0a1b2c3d'
const never = new AbortController().signal
const poolFile = '/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages'

/** The lines of smaps of the mapping that is the guest's memory: the only one of its size. */
function guestMapping(pid: number, sizeKib: number): Readonly<Record<string, string>> {
  const blocks = readFileSync(`/proc/${pid}/smaps`, 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
  const block = blocks.find((text) => new RegExp(`^Size: +${sizeKib} kB$`, 'm').test(text))
  assert.ok(block, `no mapping of ${sizeKib} kB`)
  return Object.fromEntries(block.split('\n').map((line) => line.split(/:\s+/, 2) as [string, string]))
}

function lineOfNode(pid: number, policy: string): string | undefined {
  return readFileSync(`/proc/${pid}/numa_maps`, 'utf8')
    .split('\n')
    .find((line) => line.includes(` ${policy} `))
}

/** Why pages of 2 MiB would not be reserved for a VM, tried with as many as the tests need. */
function withoutPages(): string | false {
  try {
    const free = readFileSync(poolFile.replace('nr_', 'free_'), 'utf8').trim()
    if (free !== '0') return lacking('hugepages', `${free} pages are free, so none would be reserved`)
    const before = readFileSync(poolFile, 'utf8').trim()
    writeFileSync(poolFile, String(Number(before) + 32))
    const got = Number(readFileSync(poolFile, 'utf8')) - Number(before)
    writeFileSync(poolFile, before)
    return got === 32 ? false : lacking('hugepages', `the kernel reserves ${got} of 32 pages`)
  } catch {
    return lacking('hugepages', 'the pool cannot be written')
  }
}

const skipPages = skip || withoutPages()

test('private memory may be merged, and none of it is shared', { skip }, async () => {
  await using real = await openRealEmulators()
  const emulator = await real.emulators.launch(real.request(id), never)

  const mapping = guestMapping(emulator.record.pid, 65536)

  assert.match(mapping['VmFlags'] ?? '', / mg /)
  assert.doesNotMatch(mapping['VmFlags'] ?? '', /\bsh\b/)
  await emulator.release()
})

test('KSM is allowed and forbidden while the guest runs, for plugged memory too', { skip }, async () => {
  await using real = await openRealEmulators()
  const emulator = await real.emulators.launch(real.request(id, { max: '256MiB' }), never)
  await emulator.resume()
  const { pid } = emulator.record
  const maySeeMerged = () =>
    [64, 192].map((mib) => / mg /.test(guestMapping(pid, mib * 1024)['VmFlags'] ?? ''))
  assert.deepEqual(maySeeMerged(), [true, true])

  await emulator.memory.setMerging(false)
  await emulator.memory.setMerging(false)
  assert.deepEqual(maySeeMerged(), [false, false])

  await emulator.memory.setMerging(true)
  assert.deepEqual(maySeeMerged(), [true, true])
  await emulator.release()
})

test('without KSM and huge pages, memory is neither merged nor huge', { skip }, async () => {
  await using real = await openRealEmulators()
  const request = real.request(id, { ksm: false, thp: 'never', preallocate: true })
  const emulator = await real.emulators.launch(request, never)
  const { pid } = emulator.record

  const mapping = guestMapping(pid, 65536)

  assert.doesNotMatch(mapping['VmFlags'] ?? '', /\bmg\b/)
  assert.equal(mapping['Rss'], '65536 kB')
  assert.equal(mapping['AnonHugePages'], '0 kB')
  assert.match(readFileSync(`/proc/${pid}/status`, 'utf8'), /^THP_enabled:\s+0$/m)
  assert.deepEqual(await real.emulators.inspectCage(id), [])
  await emulator.release()
})

test('shared memory is a file in huge pages inside the cage, aligned to them', { skip }, async () => {
  await using real = await openRealEmulators()
  const request = real.request(id, { sharing: 'shared', preallocate: true })
  const emulator = await real.emulators.launch(request, never)

  const mapping = guestMapping(emulator.record.pid, 65536)

  assert.equal(mapping['ShmemPmdMapped'], '65536 kB')
  assert.match(mapping['VmFlags'] ?? '', /\bsh\b/)
  assert.deepEqual(await real.emulators.inspectCage(id), [])
  await emulator.release()
})

const hugeMemory = { pageSize: '2MiB' as const, nodes: [0] }
const reservedPages = () => Number(readFileSync(poolFile, 'utf8'))

test('huge pages are reserved for a VM, hold its memory, and go back', { skip: skipPages }, async () => {
  await using real = await openRealEmulators()
  const before = reservedPages()
  const emulator = await real.emulators.launch(real.request(id, hugeMemory), never)
  const { pid } = emulator.record

  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const bound = lineOfNode(pid, 'bind:0')
  const breaches = await real.emulators.inspectCage(id)
  const reservations = await real.emulators.reservations()
  await emulator.release()
  await real.emulators.clean(id)

  assert.match(status, /^HugetlbPages:\s+65536 kB$/m)
  assert.match(bound ?? '', /huge .*N0=32 kernelpagesize_kB=2048/)
  assert.deepEqual(breaches, [])
  assert.deepEqual(reservations, [{ id, node: 0, pages: 32, pageBytes: 2 ** 21 }])
  assert.deepEqual(await real.emulators.reservations(), [])
  assert.equal(reservedPages(), before)
})

test('who follows a dead daemon gives back the huge pages of a dead VM', { skip: skipPages }, async () => {
  await using real = await openRealEmulators()
  const before = reservedPages()
  const emulator = await real.emulators.launch(real.request(id, hugeMemory), never)
  process.kill(emulator.record.pid, 'SIGKILL')
  await emulator.closed
  await emulator.release()

  const during = reservedPages()
  await (await real.follow()).clean(id)

  assert.equal(during, before + 32)
  assert.equal(reservedPages(), before)
})

for (const [policy, words] of [
  ['bind', 'bind:0'],
  ['preferred', 'prefer:0'],
  ['interleave', 'interleave:0'],
] as const)
  test(`memory has the policy ${policy} on the node it names`, { skip }, async () => {
    await using real = await openRealEmulators()
    const request = real.request(id, { nodes: [0], nodePolicy: policy, preallocate: true })
    const emulator = await real.emulators.launch(request, never)

    const line = lineOfNode(emulator.record.pid, words)

    assert.match(line ?? '', /N0=16384/)
    await emulator.release()
  })
