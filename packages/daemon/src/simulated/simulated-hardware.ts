/**
 * A simulated machine as its files would describe it: one socket, two L3 domains of two cores with two threads, a node for each; a
 * kernel with everything, and no PCI devices.
 */
import type { HostTopology } from '@kvasir/contract'
import type { HostReading } from '../model/host/describe-host.ts'
import type { SimulatedMachine } from './machine.ts'

const l3Bytes = 16 * 1024 * 1024

/** A topology that a planner can do something with. */
export function simulatedTopology(machine: SimulatedMachine): HostTopology {
  const halves = [0, 1]
  const half = (core: number) => Math.floor(core / 2)
  const threads = (core: number) => [core, core + 4]
  const cpusOf = (part: number) =>
    [0, 1, 2, 3]
      .filter((core) => half(core) === part)
      .flatMap(threads)
      .sort((a, b) => a - b)
  const place = (core: number) => ({ socket: 0, die: 0, core, l3: half(core), node: half(core) })
  const all = [0, 1, 2, 3, 4, 5, 6, 7]
  return {
    architecture: 'x86_64',
    cpus: all.map((cpu) => ({ cpu, online: true, ...place(cpu % 4), isolated: false, nohzFull: false })),
    offline: [],
    isolated: [],
    nohzFull: [],
    smt: 'on',
    sockets: [{ socket: 0, packageId: 0, cpus: all }],
    dies: [{ die: 0, dieId: 0, socket: 0, cpus: all }],
    clusters: [],
    l3: halves.map((l3) => ({ l3, sizeBytes: l3Bytes, cpus: cpusOf(l3) })),
    cores: [0, 1, 2, 3].map((core) => ({ coreId: core, ...place(core), cpus: threads(core) })),
    kinds: [],
    caches: [{ level: 3, type: 'unified', sizeBytes: l3Bytes, instances: 2 }],
    numa: true,
    nodes: halves.map((node) => ({
      node,
      cpus: cpusOf(node),
      memoryBytes: machine.totalMemoryBytes / 2,
      freeBytes: machine.availableMemoryBytes / 2,
      distances: halves.map((to) => ({ node: to, distance: to === node ? 10 : 21 })),
    })),
    pciDevices: [],
  }
}

/** What would be read of a simulated machine. */
export function simulatedReading(machine: SimulatedMachine): HostReading {
  const { totalMemoryBytes: totalBytes, availableMemoryBytes: availableBytes, hasKvm } = machine
  return {
    kernel: '6.12.0',
    architecture: 'x86_64',
    cpu: {
      vendor: 'Simulated',
      model: 'Simulated CPU',
      count: 8,
      flags: hasKvm ? ['lm', 'vmx', 'ept'] : ['lm'],
    },
    kvm: {
      modules: hasKvm ? [{ name: 'kvm_intel', parameters: { nested: 'Y' } }] : [],
      hasDevice: hasKvm,
      isKnown: true,
    },
    iommu: { units: [], tables: [], groups: [] },
    kernelOptions: [],
    pciDevices: [],
    renderNodes: machine.renderNodes,
    memory: {
      totalBytes,
      availableBytes,
      nodes: [0, 1].map((node) => ({ node, totalBytes: totalBytes / 2, freeBytes: availableBytes / 2 })),
      features: {
        ksm: { state: 'off', pagesShared: 0, pagesSharing: 0, savedBytes: 0 },
        thp: { mode: 'madvise' },
        hugepages: [],
        zswap: { state: 'off' },
        swap: { totalBytes: 0, freeBytes: 0 },
        psi: { state: 'absent' },
        mglru: { state: 'on' },
      },
    },
    cgroup: { version: 'v2', root: '/sys/fs/cgroup/kvasir', controllers: ['cpu', 'memory'], missing: [] },
    firmwareDescriptors: [],
    hasFile: () => false,
  }
}
