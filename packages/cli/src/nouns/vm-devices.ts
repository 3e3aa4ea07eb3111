/** The rows of `kvasir vm disk`, `kvasir vm nic`, `kvasir vm channel` and others. */
import type { Verbs } from '../command.ts'
import { detachFlag } from '../follow-job.ts'

const name = { name: 'NAME', completes: 'vm' } as const

export const deviceVerbs: Verbs = {
  'disk list': {
    summary: 'The disks of a VM.',
    arguments: [name],
    load: async () => (await import('../vm/devices.ts')).listDisks,
  },
  'disk add': {
    summary: 'Add a disk, such as size=20GiB,bus=virtio-scsi.',
    examples: [
      'vm disk add web1 size=20GiB',
      'vm disk add web1 size=20GiB,format=raw',
      'vm disk add web1 name=data,volume=fast/old-data,bus=virtio-scsi',
      'vm disk add web1 size=20GiB,bus=virtio-scsi,controller=shelf,onError=report',
      'vm disk add web1 volume=cluster,shareable',
      'vm disk add web1 device=cdrom,file=/srv/debian.iso,bootOrder=1',
    ],
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
  'disk move': {
    summary:
      'Move a disk to another pool or format, or into a volume that is there, while the guest runs too.',
    examples: [
      'vm disk move web1 root --pool fast',
      'vm disk move web1 data --format raw --speed 50MiB --keep',
      'vm disk move web1 data --into san/lun-2',
    ],
    arguments: [name, { name: 'DISK' }],
    flags: {
      pool: { summary: 'The pool; its own unless said.', value: 'POOL', completes: 'pool' },
      format: {
        summary: 'The format; its own where the pool has it.',
        value: 'FORMAT',
        completes: ['qcow2', 'raw'],
      },
      into: {
        summary: 'A free volume that is there, such as a LUN; its format stays.',
        value: '[POOL/]VOLUME',
        completes: 'volume',
      },
      force: { summary: 'Also if that volume holds something that is recognised.' },
      speed: { summary: 'What is copied in a second at most, such as 50MiB.', value: 'SIZE' },
      keep: { summary: 'Keep the former volume; its snapshots go along.' },
      ...detachFlag,
    },
    load: async () => (await import('../vm/move-disk.ts')).moveDisk,
  },
  'disk flatten': {
    summary: 'Make the disk of a clone independent of its base, while the guest runs too.',
    examples: ['vm disk flatten web2 root'],
    arguments: [name, { name: 'DISK' }],
    flags: detachFlag,
    load: async () => (await import('../volume/flatten.ts')).flattenDisk,
  },
  'disk speed': {
    summary: 'Change what is copied in a second of a disk that moves; 0 for no limit.',
    examples: ['vm disk speed web1 root 200MiB'],
    arguments: [name, { name: 'DISK' }, { name: 'SIZE' }],
    load: async () => (await import('../vm/move-disk.ts')).setSpeed,
  },
  'disk remove': {
    summary: 'Remove a disk from a VM; its volume stays.',
    examples: ['vm disk remove web1 data'],
    arguments: [name, { name: 'DISK' }],
    load: async () => (await import('../vm/devices.ts')).removeDisk,
  },
  'cdrom insert': {
    summary: 'Put a file of the host or a volume into a CD-ROM drive, at once.',
    examples: ['vm cdrom insert web1 cd /srv/debian.iso', 'vm cdrom insert web1 cd isos/debian'],
    arguments: [name, { name: 'DRIVE' }, { name: 'PATH|VOLUME' }],
    flags: { force: { summary: 'Also if the guest has locked the tray.' } },
    load: async () => (await import('../vm/cdrom.ts')).insertMedium,
  },
  'cdrom eject': {
    summary: 'Take out what is in a CD-ROM drive, at once.',
    examples: ['vm cdrom eject web1 cd', 'vm cdrom eject web1 cd --force'],
    arguments: [name, { name: 'DRIVE' }],
    flags: { force: { summary: 'Also if the guest has locked the tray.' } },
    load: async () => (await import('../vm/cdrom.ts')).ejectMedium,
  },
  'share list': {
    summary: 'The folders of the host that a VM has, and whether they are served.',
    arguments: [name],
    load: async () => (await import('../vm/shares.ts')).listShares,
  },
  'share add': {
    summary:
      'Share a folder of the host with a VM, while it runs where memory.sharing is shared; the guest mounts it by its name.',
    examples: ['vm share add web1 /srv/www', 'vm share add web1 /srv/www,name=www,readOnly'],
    arguments: [name, { name: 'PATH,...' }],
    load: async () => (await import('../vm/shares.ts')).addShare,
  },
  'share remove': {
    summary:
      'Share a folder no longer; it goes when the guest that runs lets go of it, and what is in it stays.',
    arguments: [name, { name: 'SHARE' }],
    load: async () => (await import('../vm/shares.ts')).removeShare,
  },
  'channel list': {
    summary: 'The channels of a VM, and whether a program of the guest has them open.',
    arguments: [name],
    load: async () => (await import('../vm/channels.ts')).listChannels,
  },
  'channel add': {
    summary: 'Give a VM a channel, while the guest runs too: /dev/virtio-ports/CHANNEL in a guest of Linux.',
    examples: ['vm channel add web1 org.example.app.0'],
    arguments: [name, { name: 'CHANNEL' }],
    load: async () => (await import('../vm/channels.ts')).addChannel,
  },
  'channel remove': {
    summary: 'Take a channel from a VM, at once; a program of the guest that has it open reads its end.',
    arguments: [name, { name: 'CHANNEL' }],
    load: async () => (await import('../vm/channels.ts')).removeChannel,
  },
  'channel connect': {
    summary: 'Speak with a program of the guest: stdin to it, what it says to stdout, until Ctrl-C.',
    examples: [
      'vm channel connect web1 org.example.app.0',
      'echo status | kvasir vm channel connect web1 org.example.app.0 --linger 2',
    ],
    arguments: [name, { name: 'CHANNEL' }],
    flags: {
      linger: {
        summary: 'End this long after stdin has; what the guest has not read by then is lost.',
        value: 'SECONDS',
      },
    },
    load: async () => (await import('../vm/connect-channel.ts')).connectChannel,
  },
  'nic list': {
    summary: 'The NICs of a VM.',
    arguments: [name],
    load: async () => (await import('../vm/devices.ts')).listNics,
  },
  'nic add': {
    summary: 'Add a NIC, such as network=lan, while the guest runs too.',
    examples: [
      'vm nic add web1 network=lan',
      'vm nic add web1 network=lan,address=192.168.150.9,ipv6=fd12::9',
      'vm nic add web1 forward=2222:22,forward=8080:80',
    ],
    arguments: [name, { name: 'KEY=VALUE,...' }],
    load: async () => (await import('../vm/devices.ts')).addNic,
  },
  'nic set': {
    summary: 'Change a NIC: its link, and on a network all that its card does not say while the guest runs.',
    examples: [
      'vm nic set web1 net0 forward=0.0.0.0:8080:80',
      'vm nic set web1 net0 antiSpoof,isolated=false,forward=none',
      'vm nic set web1 net0 link=down',
      'vm nic set web1 net0 send=10MiB,receive=none',
      'vm nic set web1 net0 network=other',
      'vm nic set web1 net0 mode=user',
      'vm nic set web1 net0 vlan=none,trunk=10+20-30',
      'vm nic set web1 net0 queues=2,mtu=1400,offloads=off',
    ],
    arguments: [name, { name: 'NIC' }, { name: 'KEY=VALUE,...' }],
    load: async () => (await import('../vm/devices.ts')).setNic,
  },
  'nic remove': {
    summary: 'Remove a NIC; it goes when the guest that runs lets go of it.',
    arguments: [name, { name: 'NIC' }],
    load: async () => (await import('../vm/devices.ts')).removeNic,
  },
  'host-device list': {
    summary: 'The devices of the host that a VM is given.',
    arguments: [name],
    load: async () => (await import('../vm/host-devices.ts')).listHostDevices,
  },
  'host-device add': {
    summary: 'Give a VM a device of the host, while the guest runs too.',
    examples: [
      'vm host-device add web1 0000:3b:00.0',
      'vm host-device add web1 name=net,vf=eth0',
      'vm host-device add web1 model=10de:2204,rom=false',
    ],
    arguments: [name, { name: 'ADDRESS|KEY=VALUE,...' }],
    load: async () => (await import('../vm/host-devices.ts')).addHostDevice,
  },
  'host-device remove': {
    summary: 'Take a device of the host back; it goes when the guest that runs lets go of it.',
    examples: ['vm host-device remove web1 net'],
    arguments: [name, { name: 'DEVICE' }],
    load: async () => (await import('../vm/host-devices.ts')).removeHostDevice,
  },
}
