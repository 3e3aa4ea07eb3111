/**
 * The starts whose command lines are kept in golden/ and given to real QEMUs: every kind of device and every option, on q35 and
 * microvm, under KVM and TCG, for the oldest QEMU and a new one.
 *
 * A changed command line can change a guest's hardware, so a change of a golden file is explained in its commit.
 */
import { type GoldenCase, goldenCase, noDevices, qemu8, qemu10, root } from './golden-case.ts'
import { diskCases } from './golden-disks.ts'
import { nicCases } from './golden-nics.ts'

const kernel = { path: '/srv/vmlinuz', initrd: '/srv/initrd.img', cmdline: 'console=ttyS0 quiet' }

const firmware = { executable: '/usr/share/OVMF/OVMF_CODE_4M.fd', nvramPath: '/srv/nvram.fd' }

/** Both on the one node that every host has: these command lines are started. */
const guestNodes = {
  nodes: [
    { node: 0, hostNode: 0, memoryNode: 0, vcpus: [0, 1], memoryBytes: 64 * 2 ** 20 },
    { node: 1, hostNode: 1, memoryNode: 0, vcpus: [2, 3], memoryBytes: 32 * 2 ** 20 },
  ],
  distances: [
    [10, 21],
    [21, 10],
  ],
}

const machines: readonly GoldenCase[] = [
  goldenCase('q35-bare', { devices: noDevices }),
  goldenCase('q35-defaults', { disks: [root], nics: [{ name: 'lan' }] }),
  goldenCase(
    'q35-defaults-kvm',
    { disks: [root], nics: [{ name: 'lan' }] },
    { accelerator: 'kvm', vsock: true },
  ),
  goldenCase('q35-defaults-qemu-8.2', { disks: [root], nics: [{ name: 'lan' }] }, { qemu: qemu8 }),
  goldenCase('q35-defaults-qemu-10.0', { disks: [root], nics: [{ name: 'lan' }] }, { qemu: qemu10 }),
  goldenCase('q35-pinned-old-machine', { machine: { version: '7.1' }, disks: [root] }),
  goldenCase('q35-pinned-7.2-on-qemu-10.0', { machine: { version: '7.2' }, disks: [root] }, { qemu: qemu10 }),
  goldenCase('q35-kernel', { devices: noDevices }, { kernel }),
  goldenCase(
    'q35-kernel-without-initrd',
    { devices: noDevices },
    { kernel: { ...kernel, initrd: undefined, cmdline: '' } },
  ),
  goldenCase('q35-kernel-with-disk', { disks: [root] }, { kernel }),
  goldenCase(
    'q35-kernel-hostile-cmdline',
    { devices: noDevices },
    { kernel: { ...kernel, cmdline: '-monitor stdio,locking=off "a,,b"' } },
  ),
  goldenCase('uefi', { machine: { firmware: 'uefi' }, disks: [root] }, { firmware }),
  goldenCase(
    'uefi-secure-boot',
    { machine: { firmware: 'uefi', secureBoot: true }, devices: noDevices },
    { firmware },
  ),
  goldenCase('microvm-kernel', { machine: { type: 'microvm' } }, { kernel }),
  goldenCase(
    'microvm-kernel-told-its-clock',
    { machine: { type: 'microvm' } },
    { kernel, tscKhz: 2_596_122 },
  ),
  goldenCase(
    'microvm-kernel-kvm',
    { machine: { type: 'microvm' } },
    { kernel, accelerator: 'kvm', tscKhz: 2_596_122 },
  ),
  goldenCase('microvm-kernel-qemu-10.0', { machine: { type: 'microvm' } }, { kernel, qemu: qemu10 }),
  goldenCase(
    'microvm-all-devices',
    {
      machine: { type: 'microvm' },
      cpu: { count: 2 },
      disks: [root, { name: 'data', bus: 'virtio-scsi' }],
      nics: [{ name: 'lan' }],
      cloudInit: {},
      devices: { watchdog: true, usb: true, pointer: 'virtio', sound: true },
    },
    { kernel },
  ),
]

const processors: readonly GoldenCase[] = [
  goldenCase('cpu-topology', {
    cpu: { model: 'Nehalem-v1', count: 16, topology: { sockets: 2, dies: 2, cores: 2, threads: 2 } },
    devices: noDevices,
  }),
  goldenCase('cpu-model-and-flags', {
    cpu: { count: 2, model: 'Nehalem-v1', features: { aes: true, sse3: true, 'sse4.2': false } },
    devices: noDevices,
  }),
  goldenCase('cpu-max-with-la57', { cpu: { features: { la57: true } }, devices: noDevices }),
  goldenCase(
    'cpu-model-kvm',
    { cpu: { model: 'Skylake-Server-v4' }, devices: noDevices },
    { accelerator: 'kvm' },
  ),
  goldenCase('cpu-baseline-v2', { cpu: { model: 'x86-64-v2', count: 2 }, devices: noDevices }),
  goldenCase('cpu-baseline-v3', { cpu: { model: 'x86-64-v3' }, devices: noDevices }),
  goldenCase(
    'cpu-baseline-v4-kvm',
    { cpu: { model: 'x86-64-v4', features: { aes: true } }, devices: noDevices },
    { accelerator: 'kvm' },
  ),
  goldenCase('cpu-room-to-grow', { cpu: { count: 2, max: 8 }, devices: noDevices }),
  goldenCase('cpu-room-to-grow-in-sockets', {
    cpu: { model: 'Nehalem-v1', count: 3, max: 8, topology: { sockets: 2, cores: 2, threads: 2 } },
    devices: noDevices,
  }),
  goldenCase('cpu-nested', { cpu: { nested: true }, devices: noDevices }),
  goldenCase(
    'cpu-nested-kvm-intel',
    { cpu: { nested: true }, devices: noDevices },
    { accelerator: 'kvm', extension: 'vmx' },
  ),
  goldenCase('cpu-not-nested-kvm', { cpu: { nested: false }, devices: noDevices }, { accelerator: 'kvm' }),
  goldenCase('memory-shared', { memory: { size: '1GiB', sharing: 'shared' }, devices: noDevices }),
  goldenCase('memory-to-plug', {
    memory: { size: '1GiB', max: '4GiB', target: '512MiB', floor: '256MiB' },
    devices: { ...noDevices, balloon: true },
    disks: [root],
  }),
  goldenCase('memory-shared-without-huge-pages', {
    memory: { size: '64MiB', sharing: 'shared', thp: 'never', preallocate: true },
    devices: noDevices,
  }),
  goldenCase('memory-of-2mib-pages', {
    cpu: { count: 32 },
    memory: { size: '64MiB', pageSize: '2MiB', nodes: [0], preallocateThreads: 2 },
    devices: { ...noDevices, balloon: true },
  }),
  goldenCase('memory-of-1gib-pages', {
    cpu: { count: 8 },
    memory: { size: '2GiB', pageSize: '1GiB', sharing: 'shared', nodes: [0, 1], nodePolicy: 'interleave' },
    devices: noDevices,
  }),
  goldenCase('memory-preallocated-without-ksm', {
    memory: { size: '64MiB', ksm: false, preallocate: true },
    devices: noDevices,
  }),
  goldenCase('memory-locked-on-a-node', {
    memory: { size: '64MiB', lock: true, nodes: [0], nodePolicy: 'preferred' },
    devices: { ...noDevices, balloon: true },
  }),
  goldenCase(
    'memory-on-two-guest-nodes',
    { cpu: { count: 4, max: 6 }, memory: { size: '96MiB' }, devices: noDevices },
    { guestNodes },
  ),
  goldenCase(
    'memory-shared-on-two-guest-nodes',
    { cpu: { count: 4 }, memory: { size: '96MiB', sharing: 'shared' }, devices: noDevices },
    { guestNodes },
  ),
  goldenCase('memory-small', { memory: { size: '16MiB' }, devices: noDevices }),
]

const others: readonly GoldenCase[] = [
  ...(['rng', 'balloon', 'agent', 'vnc', 'panic', 'watchdog'] as const).map((device) =>
    goldenCase(`device-${device}`, { devices: { ...noDevices, [device]: true } }),
  ),
  goldenCase('device-rng-rate', { devices: { ...noDevices, rng: true, rngBytesPerSecond: '1MiB' } }),
  goldenCase('device-watchdog-itco', {
    devices: { ...noDevices, watchdog: true, watchdogModel: 'itco' },
  }),
  goldenCase('device-channels', {
    devices: { ...noDevices, channels: ['org.example.app.0', 'org.example.a-name-longer-than-ids.1'] },
  }),
  goldenCase('device-channels-beside-agents', {
    devices: { ...noDevices, agent: true, spice: true, channels: ['org.example.app.0'] },
  }),
  goldenCase('device-usb', { devices: { ...noDevices, usb: true } }),
  goldenCase('device-display-virtio', { devices: { ...noDevices, vnc: true, display: 'virtio' } }),
  goldenCase(
    'device-display-virtio-gl',
    { devices: { ...noDevices, vnc: true, spice: true, display: 'virtio-gl' } },
    { renderNode: '/dev/dri/renderD128' },
  ),
  goldenCase('device-spice', { devices: { ...noDevices, spice: true, display: 'virtio' } }),
  goldenCase('device-spice-beside-vnc', {
    devices: {
      ...noDevices,
      vnc: true,
      spice: true,
      usbRedirects: 1,
      pointer: 'usb',
      agent: true,
      sound: true,
    },
  }),
  goldenCase('device-pointer-usb', { devices: { ...noDevices, vnc: true, pointer: 'usb' } }),
  goldenCase('device-pointer-virtio', { devices: { ...noDevices, vnc: true, pointer: 'virtio' } }),
  goldenCase('device-keyboard-usb', {
    devices: { ...noDevices, spice: true, usbRedirects: 4, pointer: 'usb', keyboard: 'usb' },
  }),
  goldenCase('device-keyboard-virtio', {
    devices: { ...noDevices, vnc: true, pointer: 'virtio', keyboard: 'virtio', sound: true },
  }),
  goldenCase(
    'microvm-keyboard-virtio',
    { machine: { type: 'microvm' }, devices: { ...noDevices, keyboard: 'virtio' } },
    { kernel },
  ),
  goldenCase('device-sound', { devices: { ...noDevices, vnc: true, sound: true } }),
  goldenCase('device-tpm', { devices: { ...noDevices, tpm: true } }, { tpmDirectory: '/srv/tpm' }),
  goldenCase('device-sound-alone', { devices: { ...noDevices, sound: true } }),
  goldenCase(
    'host-devices',
    {
      memory: { size: '1GiB' },
      hostDevices: [
        { name: 'net', vf: 'eth0', rom: false },
        { name: 'disk', address: '03:00.0' },
      ],
      devices: noDevices,
    },
    { handed: { net: '0000:02:10.1', disk: '0000:03:00.0' } },
  ),
  goldenCase(
    'host-devices-at-one-slot',
    {
      hostDevices: [
        { name: 'gpu', address: '05:00.0', romFile: '/srv/gpu.rom' },
        { name: 'audio', address: '05:00.1', with: 'gpu' },
      ],
      devices: noDevices,
    },
    { handed: { gpu: '0000:05:00.0', audio: '0000:05:00.1' } },
  ),
  goldenCase(
    'shares',
    {
      memory: { size: '64MiB' },
      shares: [
        { name: 'www', folder: '/srv/www', readOnly: true },
        { name: 'home', folder: '/home/web' },
      ],
      devices: noDevices,
    },
    { virtiofsd: '/usr/lib/qemu/virtiofsd' },
  ),
  goldenCase('device-vsock', { devices: { ...noDevices, vsock: true } }, { vsock: true }),
  goldenCase('clock-localtime', { clock: { base: 'localtime', drift: 'none' }, devices: noDevices }),
  goldenCase('clock-kvm', { devices: noDevices }, { accelerator: 'kvm' }),
  goldenCase('lifecycle-power-off', {
    lifecycle: { onReboot: 'power-off', onPanic: 'restart', onWatchdog: 'power-off' },
    devices: { ...noDevices, watchdog: true },
  }),
  goldenCase('lifecycle-watchdog-none', {
    lifecycle: { onWatchdog: 'none' },
    devices: { ...noDevices, watchdog: true },
  }),
  goldenCase('restore', { disks: [root] }, { restorePath: '/srv/saved' }),
  goldenCase('restore-qemu-10.0', { disks: [root] }, { restorePath: '/srv/saved', qemu: qemu10 }),
]

/** Every golden case; names are unique. */
export const goldenCases: readonly GoldenCase[] = [
  ...machines,
  ...processors,
  ...diskCases,
  ...nicCases,
  ...others,
]
