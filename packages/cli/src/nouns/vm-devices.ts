/** The rows of `kvasir vm disk` and `kvasir vm nic`. */
import type { Verbs } from '../command.ts'

const name = { name: 'NAME', completes: 'vm' } as const

export const deviceVerbs: Verbs = {
  'disk list': {
    summary: 'The disks of a VM.',
    arguments: [name],
    load: async () => (await import('../vm/devices.ts')).listDisks,
  },
  'disk add': {
    summary: 'Add a disk, such as size=20GiB,bus=virtio-scsi.',
    examples: ['vm disk add web1 size=20GiB', 'vm disk add web1 name=data,volume=old-data,bus=virtio-scsi'],
    arguments: [name, { name: 'KEY=VALUE,...' }],
    load: async () => (await import('../vm/devices.ts')).addDisk,
  },
  'disk throttle': {
    summary: 'Limit a disk, at once: iops=100,bytes=20MiB, or none.',
    examples: [
      'vm disk throttle web1 data iops=500,bytesWrite=20MiB',
      'vm disk throttle web1 data iops=100,burst.iops=1000,burstSeconds=10',
      'vm disk throttle web1 data none',
    ],
    arguments: [name, { name: 'DISK' }, { name: 'KEY=VALUE,...' }],
    load: async () => (await import('../vm/devices.ts')).throttleDisk,
  },
  'disk remove': {
    summary: 'Remove a disk from a VM; its volume stays.',
    examples: ['vm disk remove web1 data'],
    arguments: [name, { name: 'DISK' }],
    load: async () => (await import('../vm/devices.ts')).removeDisk,
  },
  'nic list': {
    summary: 'The NICs of a VM.',
    arguments: [name],
    load: async () => (await import('../vm/devices.ts')).listNics,
  },
  'nic add': {
    summary: 'Add a NIC, such as mode=user,forward=2222:22.',
    examples: ['vm nic add web1 forward=2222:22,forward=8080:80'],
    arguments: [name, { name: 'KEY=VALUE,...' }],
    load: async () => (await import('../vm/devices.ts')).addNic,
  },
  'nic remove': {
    summary: 'Remove a NIC.',
    arguments: [name, { name: 'NIC' }],
    load: async () => (await import('../vm/devices.ts')).removeNic,
  },
}
