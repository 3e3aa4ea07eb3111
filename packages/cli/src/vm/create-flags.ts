/** The flags of `kvasir vm create`. */
import type { Flag } from '../command.ts'

export const createFlags = {
  image: { summary: 'The image to make it from.', value: 'IMAGE', completes: 'image' },
  vcpus: { summary: 'How many vCPUs.', value: 'N' },
  'max-vcpus': { summary: 'How many vCPUs there can be without a boot.', value: 'N' },
  memory: { summary: 'Boot size, such as 2GiB.', value: 'SIZE' },
  'memory-max': { summary: 'Up to this, memory can be plugged while it runs.', value: 'SIZE' },
  'memory-pages': {
    summary: 'From the reserved huge pages of this size.',
    value: 'SIZE',
    completes: ['default', '2MiB', '1GiB'],
  },
  'memory-nodes': { summary: 'From these NUMA nodes of the host, such as 0,1.', value: 'NODES' },
  'memory-policy': {
    summary: 'How those nodes are used.',
    value: 'POLICY',
    completes: ['bind', 'preferred', 'interleave'],
  },
  'shared-memory': { summary: 'Memory that other processes can map.' },
  thp: { summary: 'Transparent huge pages.', value: 'WHEN', completes: ['default', 'always', 'never'] },
  'no-ksm': { summary: 'KSM does not merge its memory.' },
  preallocate: { summary: 'Take its memory from the host at the start.' },
  'lock-memory': { summary: 'Never swap it out.' },
  disk: {
    summary:
      'A disk: size=20GiB,format=raw,image=,volume=,name=,bus=,cache=,pool=,readOnly,...; device=cdrom,file=/srv/a.iso,bootOrder=1',
    value: 'KEY=VALUE,...',
    multiple: true,
  },
  nic: {
    summary:
      'A NIC: network=,model=e1000e,address=,ipv6=,mac=,name=,forward=2222:22,antiSpoof,isolated,vlan=10,trunk=10+20-30,queues=,mtu=,offloads=off, or mode=user,forward=2222:22 (by passt where the host has it, else by slirp of QEMU); none for no NIC.',
    value: 'KEY=VALUE,...',
    multiple: true,
  },
  forward: {
    summary: 'A host port into the guest: [tcp:][ADDRESS:]HOSTPORT:GUESTPORT.',
    value: 'FORWARD',
    multiple: true,
  },
  devices: {
    summary:
      'The other devices, of which rng, watchdog, pointer and keyboard come to a running VM too (vm set): watchdog,watchdogModel=itco,rngBytesPerSecond=1MiB,usb,pointer=usb,keyboard=virtio,sound,tpm,display=virtio-gl,renderNode=/dev/dri/renderD128,spice,channels=org.example.app.0+org.example.log.0,vnc=false,...',
    value: 'KEY=VALUE,...',
  },
  'host-device': {
    summary: 'A device of the host: ADDRESS, vf=eth0 or model=10de:2204; name=,force,rom=false.',
    value: 'DEVICE',
    multiple: true,
  },
  share: {
    summary: 'A folder of the host as a file system of the guest: PATH, name=share0,readOnly.',
    value: 'PATH,...',
    multiple: true,
  },
  user: { summary: 'cloud-init: the user to make.', value: 'USER' },
  'ssh-key': {
    summary: 'cloud-init: a file with public keys for that user.',
    value: 'FILE',
    multiple: true,
    completes: 'file',
  },
  hostname: { summary: 'cloud-init: the name of the guest.', value: 'NAME' },
  'user-data': { summary: 'cloud-init: a user-data file, used as it is.', value: 'FILE', completes: 'file' },
  description: { summary: 'What it is for.', value: 'TEXT' },
  label: { summary: 'A label.', value: 'KEY=VALUE', multiple: true },
  accelerator: { summary: 'Which accelerator to require.', value: 'KIND', completes: ['auto', 'kvm', 'tcg'] },
  machine: { summary: 'The machine type.', value: 'TYPE', completes: ['q35', 'microvm'] },
  firmware: { summary: 'The firmware.', value: 'KIND', completes: ['bios', 'uefi'] },
  'secure-boot': { summary: 'UEFI that boots only what is signed; --firmware uefi goes without saying.' },
  'cpu-model': {
    summary: 'The CPU model: auto, host, max, x86-64-v2, x86-64-v3, x86-64-v4, or one of QEMU.',
    value: 'MODEL',
    completes: ['auto', 'host', 'max', 'x86-64-v2', 'x86-64-v3', 'x86-64-v4'],
    open: true,
  },
  'cpu-flag': { summary: 'A CPU flag on or off: aes=on.', value: 'FLAG=on|off', multiple: true },
  placement: {
    summary: 'Where on the host it is to lie.',
    value: 'KIND',
    completes: ['none', 'pack', 'spread', 'dedicated'],
  },
  numa: {
    summary: 'How a placed VM minds NUMA nodes.',
    value: 'KIND',
    completes: ['auto', 'strict', 'off'],
  },
  topology: {
    summary: 'How the vCPUs are made up: sockets=2,dies=1,cores=4,threads=2.',
    value: 'KEY=VALUE,...',
  },
  nested: {
    summary: 'Whether the guest can run VMs itself.',
    value: 'WHETHER',
    completes: ['true', 'false', 'auto'],
  },
  weight: { summary: 'Its share of busy CPUs against other VMs; 100 is usual.', value: 'N' },
  quota: { summary: 'The most CPU time, in percent of one CPU.', value: 'PERCENT' },
  'host-cpus': { summary: 'The CPUs of the host that it may use, such as 0-3,8,^2.', value: 'CPUS' },
  scheduler: {
    summary: 'The policy of its vCPUs: other, batch, idle, fifo:PRIORITY or rr:PRIORITY.',
    value: 'POLICY',
    completes: ['other', 'batch', 'idle', 'fifo:1', 'rr:1'],
    open: true,
  },
  kernel: { summary: 'Boot this kernel of the host.', value: 'PATH', completes: 'file' },
  initrd: { summary: 'With this initial RAM disk.', value: 'PATH', completes: 'file' },
  cmdline: { summary: 'And this kernel command line.', value: 'TEXT' },
  autostart: { summary: 'Start it with the host.' },
  start: { summary: 'Start it now.' },
} as const satisfies Readonly<Record<string, Flag>>
