/**
 * Random hosts and VMs for property tests: offline CPUs, holes in numbering, SMT on, off and by halves, nodes without memory or CPUs,
 * kinds of cores, isolated CPUs, L3 domains that are missing or span nodes, hundreds of CPUs.
 */
import type { HostTopology } from '@kvasir/contract'
import fc from 'fast-check'
import type { PlacementRequest } from '../request.ts'
import { type CoreShape, gib, hostOf } from './hosts.ts'

/** Any host. */
export function anyHost(): fc.Arbitrary<HostTopology> {
  return fc
    .record({
      nodes: fc.array(
        fc.record({
          l3: fc.integer({ min: 0, max: 4 }),
          cores: fc.integer({ min: 1, max: 8 }),
          memoryGib: fc.oneof(fc.integer({ min: 1, max: 256 }), fc.constantFrom(0, undefined)),
          freePart: fc.double({ min: 0, max: 1, noNaN: true }),
        }),
        { minLength: 1, maxLength: 8 },
      ),
      threads: fc.constantFrom(1, 2, 2, 4),
      hole: fc.integer({ min: 0, max: 5 }),
      nodeStep: fc.constantFrom(1, 1, 2, 3),
      hybrid: fc.boolean(),
      sharedL3: fc.boolean(),
      offline: fc.array(fc.nat(600), { maxLength: 12 }),
      isolated: fc.array(fc.nat(600), { maxLength: 40 }),
      deviceNode: fc.nat(8),
    })
    .map(({ nodes, threads, hole, nodeStep, hybrid, sharedL3, offline, isolated, deviceNode }) => {
      const gone = new Set(offline)
      const cores: CoreShape[] = []
      let [cpu, l3] = [0, 0]
      for (const [index, node] of nodes.entries()) {
        for (let domain = 0; domain < Math.max(1, node.l3); domain++) {
          if (!sharedL3) l3++
          for (let core = 0; core < (node.l3 === 0 && index > 0 ? 0 : node.cores); core++) {
            const weak = hybrid && core % 2 === 1
            const cpus = Array.from({ length: weak ? 1 : threads }, (_, thread) => cpu + thread)
            cpu += cpus.length + (core === 0 ? hole : 0)
            const online = cpus.filter((number) => !gone.has(number))
            if (online.length > 0)
              cores.push({
                node: index * nodeStep,
                l3: node.l3 === 0 ? undefined : l3,
                cpus: online,
                kind: hybrid ? (weak ? 'atom' : 'core') : undefined,
              })
          }
        }
      }
      return hostOf({
        cores: cores.length > 0 ? cores : [{ node: 0, l3: 0, cpus: [0] }],
        nodes: nodes.map(({ memoryGib, freePart }, index) => ({
          node: index * nodeStep,
          memoryBytes: memoryGib === undefined ? undefined : memoryGib * gib,
          freeBytes: memoryGib === undefined ? undefined : Math.floor(memoryGib * freePart) * gib,
        })),
        distance: (from, to) => (from === to ? 10 : 12 + Math.abs(from - to) * 3),
        isolated: isolated.filter((number) => cores.some(({ cpus }) => cpus.includes(number))),
        offline: offline.filter((number) => number < cpu),
        devices: [{ address: '0000:81:00.0', node: deviceNode }],
      })
    })
}

/** Any VM that is to be placed. */
export function anyRequest(vm: string): fc.Arbitrary<PlacementRequest> {
  return fc.record({
    vm: fc.constant(vm),
    placement: fc.constantFrom('pack', 'spread', 'dedicated', 'dedicated'),
    numa: fc.constantFrom('auto', 'auto', 'strict', 'off'),
    vcpus: fc.oneof(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: 128 })),
    memoryBytes: fc.integer({ min: 16, max: 64 * 1024 }).map((mib) => mib * 2 ** 20),
    ioThreads: fc.constantFrom([], ['root'], ['root', 'data']),
    devices: fc.constantFrom([], ['0000:81:00.0'], ['0000:00:02.0']),
    cpus: fc.oneof(fc.constant(undefined), fc.array(fc.nat(60), { minLength: 1, maxLength: 40 })),
  })
}
