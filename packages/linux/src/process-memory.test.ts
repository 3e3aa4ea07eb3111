import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseMergedBytes, parseNumaMaps, parseNumaStat, readProcessMemory } from './process-memory.ts'

const mib = 2 ** 20

test('numa_maps gives bytes by node, and reserved huge pages by their size', () => {
  const text = [
    '7f0000000000 bind:1 anon=10 dirty=10 active=0 N0=4 N1=6 kernelpagesize_kB=4',
    '7f1000000000 default file=/dev/hugepages/x\\040(deleted) huge anon=3 dirty=3 N1=3 kernelpagesize_kB=2048',
    '7f2000000000 default file=/g huge dirty=1 N0=1 kernelpagesize_kB=1048576',
    '7ffe00000000 default stack:1 anon=2 N0=2',
    '',
  ].join('\n')

  assert.deepEqual(parseNumaMaps(text), {
    nodes: [
      { node: 0, bytes: 4 * 4096 + 1024 * mib + 2 * 4096 },
      { node: 1, bytes: 6 * 4096 + 6 * mib },
    ],
    reserved: [
      { kind: 'reserved', pageBytes: 2 * mib, bytes: 6 * mib },
      { kind: 'reserved', pageBytes: 1024 * mib, bytes: 1024 * mib },
    ],
  })
})

test('the statistics of a cgroup give anonymous and shared memory by node, and no page cache', () => {
  const text = 'anon N0=8192 N1=4096\nfile N0=1048576 N1=0\nshmem N0=0 N1=4096\nfile_mapped N0=1 N1=2\n'

  assert.deepEqual(parseNumaStat(text), [
    { node: 0, bytes: 8192 },
    { node: 1, bytes: 8192 },
  ])
})

test('merged pages are told where the kernel counts them', () => {
  assert.equal(parseMergedBytes('ksm_rmap_items 3\nksm_merging_pages 256\nksm_process_profit 0\n'), mib)
  assert.equal(parseMergedBytes(''), undefined)
})

test('the memory of a process is told without a cgroup of its own too, and of a large one without walks', async () => {
  const small = await readProcessMemory(process.pid, { cgroup: '/nowhere', walkBytes: 2 ** 40 })
  const large = await readProcessMemory(process.pid, { cgroup: '/nowhere', walkBytes: 0 })

  assert.ok(small !== undefined && large !== undefined)
  assert.ok(small.residentBytes > 10 * mib)
  const onNodes = (small.nodes ?? []).reduce((sum, { bytes }) => sum + bytes, 0)
  assert.ok(
    Math.abs(onNodes - small.residentBytes) < small.residentBytes / 2,
    'nodes add up to about what is resident',
  )
  assert.equal(small.unwalked, undefined)
  assert.equal(large.nodes, undefined)
  assert.equal(large.unwalked, 'too-large')
  assert.equal(await readProcessMemory(2 ** 22 + 1, { cgroup: '/nowhere', walkBytes: 0 }), undefined)
})

test('a walk that takes too long is left out, and what counters tell stays', async () => {
  const walk = async () => undefined
  const memory = await readProcessMemory(process.pid, { cgroup: '/nowhere', walkBytes: 2 ** 40, walk })

  assert.equal(memory?.unwalked, 'too-slow')
  assert.equal(memory.nodes, undefined)
  assert.ok(memory.residentBytes > 10 * mib)
})
