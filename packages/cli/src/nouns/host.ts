/** The tables of `kvasir host`, `kvasir status` and `kvasir audit`. */
import type { Verbs } from '../command.ts'

const actions = () => import('../host/host.ts')
const rootFlag = {
  summary: 'Read a captured tree of /sys and /proc, without a daemon.',
  value: 'DIR',
  completes: 'file',
} as const

export const hostVerbs: Verbs = {
  show: {
    summary: 'What the machine can do for VMs, and what it lacks.',
    examples: ['host show', 'host show --root ./capture -o json'],
    flags: { root: rootFlag },
    load: async () => (await import('../host/show-host.ts')).showHost,
  },
  devices: {
    summary: 'PCI, USB and mediated devices: who uses them, and which of them a VM could be given.',
    examples: ['host devices', 'host devices --all', 'host devices --root ./capture -o json'],
    flags: { root: rootFlag, all: { summary: 'With those that are never given away, such as bridges.' } },
    load: async () => (await import('../host/devices.ts')).listDevices,
  },
  memory: {
    summary: 'Memory of the host, what VMs have of it, and what they could claim at once.',
    examples: ['host memory', 'host memory --root ./capture'],
    flags: { root: rootFlag },
    load: async () => (await import('../host/memory.ts')).showHostMemory,
  },
  topology: {
    summary: 'Sockets, L3 domains, cores, NUMA nodes and PCI devices.',
    examples: ['host topology', 'host topology --root ./capture -o json'],
    flags: { root: rootFlag },
    load: async () => (await import('../host/topology.ts')).showTopology,
  },
}

export const statusCommand: Verbs = {
  '': {
    summary: 'Daemon, accelerator and counts; exits 0 when healthy.',
    load: async () => (await actions()).showStatus,
  },
}

export const auditCommand: Verbs = {
  '': {
    summary: 'Compare the store with the machine; exits 0 when clean.',
    load: async () => (await actions()).showAudit,
  },
}
