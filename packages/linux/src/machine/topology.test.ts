import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fuzzRuns } from '../../../../tools/fuzz-runs.ts'
import { type CpuShape, machineFiles, memoryTree } from '../testing/machine-files.ts'
import { machines } from '../testing/machines.ts'
import { readTopology } from './topology.ts'

async function topologyOf(files: ReadonlyMap<string, string>) {
  const topology = await readTopology(memoryTree(files))
  assert.ok(topology)
  return topology
}

test('an EPYC of two sockets has eight L3 domains and four nodes in each', async () => {
  const { cores, l3, nodes, sockets, isolated, nohzFull, cpus, smt, pciDevices } = await topologyOf(
    machines['dual-epyc-nps4'](),
  )

  assert.deepEqual([sockets.length, l3.length, cores.length, nodes.length, smt], [2, 16, 128, 8, 'on'])
  assert.deepEqual(cores[64], { core: 64, coreId: 0, socket: 1, die: 1, l3: 64, node: 4, cpus: [64, 192] })
  assert.deepEqual(nodes[4]?.distances.slice(3, 6), [
    { node: 3, distance: 32 },
    { node: 4, distance: 10 },
    { node: 5, distance: 12 },
  ])
  assert.deepEqual([isolated.length, nohzFull.length], [16, 8])
  assert.deepEqual([cpus[136]?.isolated, cpus[136]?.nohzFull, cpus[16]?.isolated], [true, false, false])
  assert.deepEqual(pciDevices, [
    {
      address: '0000:c1:00.0',
      classCode: '020000',
      className: 'Ethernet controller',
      vendorId: '15b3',
      deviceId: '101d',
      driver: 'mlx5_core',
      node: 4,
      iommuGroup: 71,
    },
  ])
})

test('a hybrid has two kinds of cores, told by its PMUs, and clusters of efficiency cores only', async () => {
  const { kinds, clusters, cores, caches } = await topologyOf(machines['intel-hybrid']())

  assert.deepEqual(
    kinds.map(({ kind, cpus, maxMhz }) => [kind, cpus.length, maxMhz]),
    [
      ['performance', 8, 5100],
      ['efficiency', 8, 3800],
    ],
  )
  assert.deepEqual(
    clusters.map(({ cpus }) => cpus),
    [
      [8, 9, 10, 11],
      [12, 13, 14, 15],
    ],
  )
  assert.deepEqual([cores.length, cores[0]?.cpus, cores[4]?.kind], [12, [0, 1], 'efficiency'])
  assert.equal(caches.find(({ level }) => level === 2)?.instances, 6)
})

test('without PMUs, a gap in the highest clock tells kinds apart, and favoured cores are no kind', async () => {
  const files = new Map(machines['intel-hybrid']())
  files.delete('/sys/devices/cpu_core/cpus')
  files.delete('/sys/devices/cpu_atom/cpus')

  const { kinds } = await topologyOf(files)

  assert.deepEqual(
    kinds.map(({ kind, cpus }) => [kind, cpus.length]),
    [
      ['performance', 8],
      ['efficiency', 8],
    ],
  )
})

test('an L3 may span nodes, and nodes may lack CPUs, memory, or both', async () => {
  const { l3, nodes, cores } = await topologyOf(machines['sub-numa-with-cxl']())

  assert.equal(l3.length, 1)
  assert.deepEqual(
    nodes.map(({ node, cpus, memoryBytes, tier }) => [node, cpus.length, (memoryBytes ?? 0) > 0, tier]),
    [
      [0, 16, true, 4],
      [1, 16, true, 4],
      [2, 0, true, 22],
      [5, 0, false, undefined],
    ],
  )
  assert.deepEqual(nodes[0]?.distances.at(-1), { node: 5, distance: 255 })
  assert.deepEqual([cores[0]?.node, cores[8]?.node], [0, 1])
})

test('memory and distances that a capture does not hold are unknown, and not none', async () => {
  const files = new Map(machines['sub-numa-with-cxl']())
  for (const path of files.keys()) if (/node\d\/(meminfo|distance)$/.test(path)) files.delete(path)

  const { nodes } = await topologyOf(files)

  assert.deepEqual(nodes[2], { node: 2, cpus: [], distances: [], tier: 22 })
})

test('offline CPUs are listed and are nowhere, and holes in numbers do no harm', async () => {
  const { cpus, offline, cores, sockets } = await topologyOf(machines['offline-siblings']())

  assert.deepEqual(offline, [9, 11])
  assert.deepEqual(
    cpus.find(({ cpu }) => cpu === 9),
    { cpu: 9, online: false, isolated: false, nohzFull: false },
  )
  assert.deepEqual(
    cores.map((core) => core.cpus),
    [[0, 8], [1], [2, 10], [3]],
  )
  assert.deepEqual(
    sockets.map((socket) => socket.cpus),
    [
      [0, 1, 8],
      [2, 3, 10],
    ],
  )
})

test('core ids that repeat in each die and socket do not join cores, also where no siblings are told', async () => {
  const files = new Map(machines['512-cpus']())
  const cores = (await topologyOf(files)).cores
  for (const path of files.keys()) if (/(siblings|_cpus)$/.test(path)) files.delete(path)

  const guessed = await topologyOf(files)

  assert.deepEqual([cores.length, guessed.dies.length], [256, 8])
  assert.deepEqual(guessed.cores, cores)
})

test('big and little cores differ by part and capacity; without nodes and L3 all is one node', async () => {
  const { architecture, kinds, l3, nodes, numa, clusters } = await topologyOf(machines['arm-big-little']())

  assert.deepEqual([architecture, l3.length, numa, clusters.length], ['aarch64', 0, false, 2])
  assert.deepEqual(
    kinds.map(({ kind, capacity, cpus }) => [kind, capacity, cpus[0]]),
    [
      ['performance', 1024, 4],
      ['efficiency', 446, 0],
    ],
  )
  assert.deepEqual(
    nodes.map(({ node, cpus }) => [node, cpus.length]),
    [[0, 8]],
  )
})

test('lists and masks, by old names and new, say the same', async () => {
  const cpus: readonly CpuShape[] = Array.from({ length: 40 }, (_, cpu) => ({
    cpu,
    socket: cpu % 2,
    core: (cpu % 20) >> 1,
    l3: cpu % 2,
    node: cpu % 2,
  }))
  const forms = ['both', 'lists', 'masks', 'old-lists', 'old-masks'] as const

  const topologies = await Promise.all(forms.map((sets) => topologyOf(machineFiles({ cpus, sets }))))

  const [first, ...others] = topologies.map(({ sockets, cores, l3, smt }) => ({
    sockets,
    cores,
    l3: l3.map((domain) => domain.cpus),
    smt,
  }))
  for (const other of others) assert.deepEqual(other, first)
})

test('whatever siblings a tree claims, each online CPU has one core, in one die, in one socket', async () => {
  const path = fc.constantFrom(
    'topology/core_cpus_list',
    'topology/package_cpus_list',
    'topology/die_cpus_list',
    'topology/cluster_cpus',
    'topology/core_id',
    'cache/index3/shared_cpu_list',
    'cache/index3/id',
    'online',
  )
  const text = fc.oneof(
    fc.constantFrom('0-3', '1,4-5', '7', 'ff', '-1', '', '9-2'),
    fc.string({ maxLength: 8 }),
  )
  const lies = fc.array(fc.tuple(fc.integer({ min: 0, max: 7 }), path, text), { maxLength: 20 })
  await fc.assert(
    fc.asyncProperty(lies, async (planted) => {
      const files = new Map(machines['old-guest']())
      for (let cpu = 0; cpu < 8; cpu++) files.set(`/sys/devices/system/cpu/cpu${cpu}/topology/core_id`, '0')
      files.set('/sys/devices/system/cpu/present', '0-7')
      files.delete('/sys/devices/system/cpu/online')
      for (const [cpu, name, lie] of planted) files.set(`/sys/devices/system/cpu/cpu${cpu}/${name}`, lie)

      const { cpus, offline, cores, dies, sockets } = await topologyOf(files)

      const online = cpus.filter((cpu) => cpu.online).map(({ cpu }) => cpu)
      for (const parts of [cores, dies, sockets]) {
        assert.deepEqual(
          parts.flatMap((part) => part.cpus).toSorted((a, b) => a - b),
          online,
        )
      }
      for (const core of cores) assert.equal(dies[core.die]?.socket, core.socket)
      assert.equal(online.length + offline.length, 8)
    }),
    { numRuns: fuzzRuns(40) },
  )
})
