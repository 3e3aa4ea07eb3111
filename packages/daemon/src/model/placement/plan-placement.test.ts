import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PlacementPlan } from '@kvasir/contract'
import { holdingOf } from './holding-of.ts'
import type { Holding } from './occupancy.ts'
import { planPlacement } from './plan-placement.ts'
import type { PlacementHost, PlacementRequest } from './request.ts'
import { gib, hostOf, regularHost } from './testing/hosts.ts'

/** 2 nodes of 4 L3 domains of 4 cores with 2 threads: CPUs 0-31 are first threads, 32-63 second ones. */
const epyc = regularHost(
  { nodes: 2, l3: 4, cores: 4, threads: 2 },
  { devices: [{ address: '0000:81:00.0', node: 1 }] },
)

function request(more: Partial<PlacementRequest> = {}): PlacementRequest {
  return {
    vm: 'db1',
    placement: 'dedicated',
    numa: 'auto',
    vcpus: 4,
    memoryBytes: 4 * gib,
    ioThreads: ['root'],
    devices: [],
    ...more,
  }
}

function place(more: Partial<PlacementRequest>, host: Partial<PlacementHost> = {}): PlacementPlan {
  const decision = planPlacement(request(more), { topology: epyc, holdings: [], ...host })
  assert.equal(decision.kind, 'placed', decision.kind === 'refused' ? decision.reason : '')
  return decision.kind === 'placed' ? decision.plan : assert.fail()
}

function refusal(more: Partial<PlacementRequest>, host: Partial<PlacementHost> = {}): string {
  const decision = planPlacement(request(more), { topology: epyc, holdings: [], ...host })
  assert.equal(decision.kind, 'refused')
  return decision.kind === 'refused' ? decision.reason : assert.fail()
}

function holder(vm: string, dedicated: readonly number[]): Holding {
  return { vm, dedicated, shared: [], helpers: [], memory: [] }
}

const cpusOf = ({ threads }: PlacementPlan) => threads.vcpus.map(({ cpus }) => cpus)
/** The hardware threads of four cores: an L3 domain. */
const coresFrom = (core: number) => [0, 1, 2, 3].flatMap((index) => [core + index, core + index + 32])
const l3Of = (cpu: number) => Math.floor((cpu % 32) / 4)

test('dedicated vCPUs get whole cores of one L3, siblings in turn, and the guest sees the siblings', () => {
  const plan = place({ vcpus: 4 })

  const cpus = cpusOf(plan).flat()
  assert.deepEqual(cpus, [1, 33, 2, 34])
  assert.deepEqual(plan.guest, { sockets: 1, cores: 2, threads: 2, nodes: [], distances: [] })
  assert.deepEqual(plan.threads.memoryNodes, [0])
})

test('emulator and I/O threads are on the core of the node that is for such work', () => {
  const plan = place({ vcpus: 4, devices: ['0000:81:00.0'] })

  assert.deepEqual(plan.threads.emulator, [16, 48])
  assert.deepEqual(plan.threads.ioThreads, [{ disk: 'root', cpus: [16, 48] }])
})

test('a VM goes to the node of its device, and the other node is rejected for it', () => {
  const plan = place({ devices: ['0000:81:00.0'] })

  assert.deepEqual(plan.threads.memoryNodes, [1])
  const other = plan.candidates.find(({ nodes }) => nodes.includes(0))
  assert.equal(other?.verdict, 'costlier')
  assert.ok(other?.terms.some(({ what }) => what === 'device 0000:81:00.0 is at node 1, 21 away'))
})

test('a small VM fills the L3 that was begun rather than begin another', () => {
  const plan = place({ vcpus: 2 }, { holdings: [holder('a', [4, 36, 5, 37]), holder('b', [20, 52])] })

  assert.equal(new Set(cpusOf(plan).flat().map(l3Of)).size, 1)
  assert.ok([0, 1, 4, 5].includes(l3Of(cpusOf(plan)[0]?.[0] ?? -1)))
})

test('the domain without the core for the host is left whole, for a VM that needs two domains', () => {
  const held = [
    holder('a', [0, 4, 8].flatMap(coresFrom)),
    holder('b', [24, 28].flatMap(coresFrom)),
    holder('c', [20, 52]),
  ]

  const plan = place({ vcpus: 6 }, { holdings: held })

  assert.deepEqual([...new Set(cpusOf(plan).flat().map(l3Of))], [5])
  assert.match(plan.summary, /L3 5/)
})

test('twelve vCPUs fill a hole of four and a whole domain rather than begin two whole ones', () => {
  const held = [holder('a', [0, 4, 8, 12].flatMap(coresFrom)), holder('b', [20, 52, 21, 53])]

  const plan = place({ vcpus: 12 }, { holdings: held })

  const byL3 = Map.groupBy(cpusOf(plan).flat(), l3Of)
  assert.deepEqual([byL3.size, byL3.get(5)?.length], [2, 4])
})

test('a VM that needs two L3 domains takes two and not three', () => {
  const plan = place({ vcpus: 16 })

  assert.equal(new Set(cpusOf(plan).flat().map(l3Of)).size, 2)
})

test('why a VM is on two L3 domains is told by what an L3 has, or by what is free of it, in the order of their numbers', () => {
  const large = place({ vcpus: 16 })
  assert.match(large.steps.join(' '), /An L3 of node \d has 8 threads at most, too few for 16 vCPUs/)
  assert.match(large.summary, /L3 (0 and [123]|1 and [23]|4 and [567]|5 and [67])/)

  const halves = [0, 4, 8, 12, 16, 20, 24, 28].map((cpu) => holder(`vm${cpu}`, [cpu, cpu + 32]))
  const small = place({ vcpus: 8 }, { holdings: halves })
  assert.match(small.steps.join(' '), /No L3 of node \d has 8 threads free/)
})

test('a VM larger than a node spans both, and its guest sees two nodes with their memory and distances', () => {
  const plan = place({ vcpus: 40, memoryBytes: 80 * gib })

  assert.deepEqual(plan.threads.memoryNodes, [0, 1])
  assert.deepEqual(
    plan.guest?.nodes.map(({ hostNode, vcpus, memoryBytes }) => [hostNode, vcpus.length, memoryBytes]),
    [
      [0, 20, 40 * gib],
      [1, 20, 40 * gib],
    ],
  )
  assert.deepEqual(plan.guest?.distances, [
    [10, 21],
    [21, 10],
  ])
  assert.deepEqual([plan.guest?.sockets, plan.guest?.cores, plan.guest?.threads], [2, 10, 2])
  for (const { hostNode, vcpus } of plan.guest?.nodes ?? [])
    for (const vcpu of vcpus) assert.equal(Math.floor(((cpusOf(plan)[vcpu]?.[0] ?? 0) % 32) / 16), hostNode)
})

test('what the guest is shown does not depend on who else is there: scattered threads do not make it span nodes', () => {
  const busy = [0, 1].flatMap((node) =>
    Array.from({ length: 15 }, (_, index) => [node * 16 + index + 1, node * 16 + index + 33]).flat(),
  )
  const held = [
    holder(
      'big',
      busy.filter((cpu) => cpu !== 1 && cpu !== 33 && cpu !== 17),
    ),
  ]

  assert.match(
    refusal({ vcpus: 4 }, { holdings: held }),
    /not together: node 0 has 2, node 1 has 3, for VM big has .* for itself.*; with cpu\.numa off it may lie on more nodes$/,
  )
  assert.deepEqual(place({ vcpus: 4, numa: 'off' }, { holdings: held }).guest?.nodes, [])
})

test('when nothing is free the refusal says who holds what and what is kept', () => {
  const topology = regularHost({ nodes: 1, l3: 1, cores: 2, threads: 1 })

  const reason = refusal({ vcpus: 1 }, { topology, holdings: [holder('first', [1])] })

  assert.equal(
    reason,
    'no hardware thread is free for a VM alone and it wants 1: VM first has 1 for itself, 0 is kept for the host and for emulator threads',
  )
})

test('a dedicated VM does not take CPUs that a packed one may use, and the packed one does not take its', () => {
  const topology = regularHost({ nodes: 1, l3: 1, cores: 4, threads: 1 })
  const packed = place({ placement: 'pack', vcpus: 2 }, { topology })
  const holdings = [holdingOf('packed', { plan: packed, memoryBytes: gib })]

  const own = cpusOf(place({ vcpus: 1 }, { topology, holdings })).flat()

  assert.deepEqual(cpusOf(packed), [
    [1, 2],
    [1, 2],
  ])
  assert.deepEqual(own, [3])
})

test('packed VMs float over as few cores as hold them; spread ones get a core for each vCPU on the emptiest node', () => {
  const packed = place({ placement: 'pack', vcpus: 4 })
  const holdings = [holdingOf('packed', { plan: packed, memoryBytes: gib })]

  const spread = place({ placement: 'spread', vcpus: 3 }, { holdings })

  assert.equal(new Set(cpusOf(packed).map((cpus) => cpus.join())).size, 1)
  assert.equal(cpusOf(packed)[0]?.length, 4)
  assert.equal(packed.guest?.threads, 1)
  assert.deepEqual(
    cpusOf(spread).map((cpus) => cpus.length),
    [2, 2, 2],
  )
  assert.notDeepEqual(spread.threads.memoryNodes, packed.threads.memoryNodes)
})

test('a host is overcommitted by VMs that share, and the plan warns of it', () => {
  const topology = regularHost({ nodes: 1, l3: 1, cores: 2, threads: 1 })
  const first = place({ placement: 'pack', vcpus: 2 }, { topology })

  const second = place(
    { placement: 'pack', vcpus: 2 },
    { topology, holdings: [holdingOf('first', { plan: first, memoryBytes: gib })] },
  )

  assert.deepEqual(cpusOf(second), [
    [0, 1],
    [0, 1],
  ])
  assert.ok(second.warnings.some((warning) => warning.startsWith('1.0 vCPUs of others already share')))
  assert.ok(second.warnings.some((warning) => warning.startsWith('No CPU is left beside the vCPUs')))
})

test('memory counts: a node whose memory is promised is passed over, and strict refuses where auto would not bind', () => {
  const full: Holding = {
    vm: 'big',
    dedicated: [],
    shared: [],
    helpers: [],
    memory: [{ node: 0, bytes: 62 * gib }],
  }
  const both = [full, { ...full, memory: [{ node: 1, bytes: 62 * gib }] }]

  assert.deepEqual(place({}, { holdings: [full] }).threads.memoryNodes, [1])
  const unbound = place({}, { holdings: both })
  assert.equal(unbound.threads.memoryNodes, undefined)
  assert.match(unbound.warnings.join(), /memory is not bound/)
  assert.match(refusal({ numa: 'strict' }, { holdings: both }), /would fit, but node \d has room for 2 GiB/)
})

test('pages of a wanted size count instead of free memory', () => {
  const pageRoom = new Map([[1, 8 * gib]])

  assert.deepEqual(place({ numa: 'strict' }, { pageRoom }).threads.memoryNodes, [1])
})

test('a node without memory takes it from its nearest neighbour', () => {
  const topology = regularHost(
    { nodes: 2, l3: 1, cores: 4, threads: 1 },
    {
      nodes: [
        { node: 0, memoryBytes: 0 },
        { node: 1, memoryBytes: 64 * gib },
      ],
    },
  )

  assert.deepEqual(place({ vcpus: 2, cpus: [0, 1, 2, 3] }, { topology }).threads.memoryNodes, [1])
})

test('dedicated VMs are put on isolated CPUs, floating ones never', () => {
  const topology = regularHost({ nodes: 1, l3: 2, cores: 4, threads: 1 }, { isolated: [6, 7] })

  assert.deepEqual(cpusOf(place({ vcpus: 2 }, { topology })), [[6], [7]])
  assert.ok(
    !cpusOf(place({ placement: 'pack', vcpus: 2 }, { topology }))
      .flat()
      .includes(6),
  )
})

test('kinds of cores are not mixed while one kind is enough', () => {
  const topology = hostOf({
    cores: [
      ...[0, 2, 4, 6].map((cpu) => ({ node: 0, l3: 0, cpus: [cpu, cpu + 1], kind: 'core' })),
      ...[8, 9, 10, 11].map((cpu) => ({ node: 0, l3: 0, cpus: [cpu], kind: 'atom' })),
    ],
    nodes: [{ node: 0, memoryBytes: 32 * gib }],
  })

  assert.deepEqual(cpusOf(place({ vcpus: 6 }, { topology })), [[2], [3], [4], [5], [6], [7]])
  assert.match(place({ vcpus: 8 }, { topology }).warnings.join(), /mixes cores of the kinds core and atom/)
})

test('a spec that leaves no CPU beside the vCPUs is refused', () => {
  assert.match(refusal({ vcpus: 2, cpus: [4, 36] }), /^no hardware thread .* 4,36 is kept for the host/)
  assert.match(refusal({ vcpus: 1, cpus: [99] }), /^none of the CPUs that it is allowed is online/)
})

test('what saved memory was shown stays: as many nodes and threads as before', () => {
  const former = place({ vcpus: 40, memoryBytes: 80 * gib }).guest

  const again = place({ vcpus: 40, memoryBytes: 80 * gib, guest: former })

  assert.deepEqual(again.guest, former)
})

test('a kernel without NUMA binds no memory, and more vCPUs than threads are warned of', () => {
  const topology = regularHost({ nodes: 1, l3: 1, cores: 2, threads: 1 })

  const plan = place({ placement: 'spread', vcpus: 5 }, { topology })

  assert.equal(plan.threads.memoryNodes, undefined)
  assert.ok(
    plan.warnings.includes('5 vCPUs share 2 hardware threads of node 0, so they wait for each other.'),
  )
  assert.ok(plan.candidates[0]?.l3.every(({ free, taken, total }) => free <= total && taken <= total))
})
