/** Machines for tests, each for what it has that others lack. */
import { type CpuShape, type MachineFiles, machineFiles } from './machine-files.ts'

function count(length: number): readonly number[] {
  return Array.from({ length }, (_, index) => index)
}

/** Two EPYC sockets of 64 cores: 8 L3 domains and 4 nodes each (NPS4); the second threads are numbered behind all first ones. */
function dualEpyc(): MachineFiles {
  const cores = count(128).map((core) => ({
    socket: Math.floor(core / 64),
    core: core % 64,
    l3: Math.floor(core / 8),
    node: Math.floor(core / 16),
  }))
  const cpus = count(256).flatMap((cpu) => {
    const core = cores[cpu % 128]
    return core === undefined ? [] : [{ cpu, ...core }]
  })
  return machineFiles({
    cpus,
    nodes: count(8).map((node) => ({
      node,
      memoryKib: 64 * 1024 * 1024,
      distances: count(8).map((to) =>
        to === node ? 10 : Math.floor(to / 4) === Math.floor(node / 4) ? 12 : 32,
      ),
    })),
    more: {
      '/sys/devices/system/cpu/isolated': '8-15,136-143',
      '/sys/devices/system/cpu/nohz_full': '8-15',
      '/sys/bus/pci/devices/0000:c1:00.0/class': '0x020000',
      '/sys/bus/pci/devices/0000:c1:00.0/vendor': '0x15b3',
      '/sys/bus/pci/devices/0000:c1:00.0/device': '0x101d',
      '/sys/bus/pci/devices/0000:c1:00.0/numa_node': '4',
      '/sys/bus/pci/devices/0000:c1:00.0/driver': '-> ../../../bus/pci/drivers/mlx5_core',
      '/sys/bus/pci/devices/0000:c1:00.0/iommu_group': '-> ../../../kernel/iommu_groups/71',
    },
  })
}

/** An Intel hybrid: 4 performance cores with two threads each, 8 efficiency cores in clusters of four, one L3. */
function intelHybrid(): MachineFiles {
  const performance = count(8).map((cpu) => ({
    cpu,
    core: Math.floor(cpu / 2) * 4,
    cluster: Math.floor(cpu / 2) * 8,
    l3: 0,
    node: 0,
    // Two favoured cores.
    maxKhz: cpu < 4 ? 5_100_000 : 4_900_000,
  }))
  const efficiency = count(8).map((index) => ({
    cpu: 8 + index,
    core: 32 + index,
    cluster: 64 + Math.floor(index / 4) * 8,
    l2: 100 + Math.floor(index / 4),
    l3: 0,
    node: 0,
    maxKhz: 3_800_000,
  }))
  return machineFiles({
    cpus: [...performance, ...efficiency],
    nodes: [{ node: 0, memoryKib: 32 * 1024 * 1024, distances: [10] }],
    l3Kib: 30720,
    more: { '/sys/devices/cpu_core/cpus': '0-7', '/sys/devices/cpu_atom/cpus': '8-15' },
  })
}

/** A Xeon with sub-NUMA clustering: its one L3 spans two nodes; a third has CXL memory only, a fourth nothing but a number. */
function subNumaWithCxl(): MachineFiles {
  return machineFiles({
    cpus: count(32).map((cpu) => ({ cpu, core: cpu % 16, l3: 0, node: Math.floor((cpu % 16) / 8) })),
    nodes: [
      { node: 0, memoryKib: 8 * 1024 * 1024, distances: [10, 12, 24, 255] },
      { node: 1, memoryKib: 8 * 1024 * 1024, distances: [12, 10, 24, 255] },
      { node: 2, memoryKib: 64 * 1024 * 1024, distances: [24, 24, 10, 255] },
      { node: 5, memoryKib: 0, distances: [255, 255, 255, 10] },
    ],
    more: {
      '/sys/devices/virtual/memory_tiering/memory_tier4/nodelist': '0-1',
      '/sys/devices/virtual/memory_tiering/memory_tier22/nodelist': '2',
    },
  })
}

/** Siblings of two cores are offline, and numbers of CPUs have a hole; core ids repeat in each socket. */
function offlineSiblings(): MachineFiles {
  const numbers = [0, 1, 2, 3, 8, 9, 10, 11]
  const cpus = numbers.map((cpu, index) => ({
    cpu,
    socket: Math.floor((index % 4) / 2),
    core: index % 2,
    l3: Math.floor((index % 4) / 2),
    node: Math.floor((index % 4) / 2) * 2,
    online: cpu !== 9 && cpu !== 11,
  }))
  return machineFiles({
    cpus,
    possible: '0-15',
    nodes: [
      { node: 0, memoryKib: 1024 * 1024, distances: [10, 21] },
      { node: 2, memoryKib: 0, distances: [21, 10] },
    ],
  })
}

/** 512 CPUs: 4 sockets of 2 dies, L3 domains of 8 cores; captured with masks only. */
function manyCpus(): MachineFiles {
  const cpus = count(512).map((cpu) => {
    const core = cpu % 256
    const socket = Math.floor(core / 64)
    return {
      cpu,
      socket,
      die: Math.floor((core % 64) / 32),
      core: core % 32,
      l3: Math.floor(core / 8),
      node: socket,
    }
  })
  return machineFiles({
    cpus,
    sets: 'masks',
    nodes: count(4).map((node) => ({
      node,
      memoryKib: 256 * 1024 * 1024,
      distances: count(4).map((to) => (to === node ? 10 : 21)),
    })),
  })
}

/** ARM: four little and four big cores in two clusters, no L3, no nodes. */
function bigLittle(): MachineFiles {
  return machineFiles({
    cpus: count(8).map((cpu) => ({
      cpu,
      core: cpu % 4,
      cluster: Math.floor(cpu / 4),
      capacity: cpu < 4 ? 446 : 1024,
      maxKhz: cpu < 4 ? 1_800_000 : 2_400_000,
      part: cpu < 4 ? '0xd03' : '0xd08',
    })),
  })
}

/** A guest: CPUs that each are a socket, old names of files, lists only, no L3. */
function oldGuest(): MachineFiles {
  return machineFiles({
    cpus: count(4).map((cpu) => ({ cpu, socket: cpu, core: 0, node: 0 })),
    sets: 'old-lists',
    nodes: [{ node: 0, memoryKib: 4 * 1024 * 1024, distances: [10] }],
  })
}

/** A kernel of a decade ago: old names, masks only, threads beside each other, two sockets that take turns. */
function oldServer(): MachineFiles {
  const cpus: CpuShape[] = count(16).map((cpu) => ({
    cpu,
    socket: Math.floor(cpu / 2) % 2,
    core: Math.floor(cpu / 4) * 2,
    l3: Math.floor(cpu / 2) % 2,
    node: Math.floor(cpu / 2) % 2,
  }))
  return machineFiles({
    cpus,
    sets: 'old-masks',
    l3Kib: 20480,
    nodes: [
      { node: 0, memoryKib: 1024, distances: [10, 20] },
      { node: 1, memoryKib: 1024, distances: [20, 10] },
    ],
  })
}

/** Every machine by name. */
export const machines = {
  'dual-epyc-nps4': dualEpyc,
  'intel-hybrid': intelHybrid,
  'sub-numa-with-cxl': subNumaWithCxl,
  'offline-siblings': offlineSiblings,
  '512-cpus': manyCpus,
  'arm-big-little': bigLittle,
  'old-guest': oldGuest,
  'old-server': oldServer,
} as const satisfies Record<string, () => MachineFiles>
