/** The starts that are about disks. */
import { type GoldenCase, goldenCase, noDevices, qemu7, qemu10, root } from './golden-case.ts'

const chain = [
  { path: '/srv/top.qcow2', format: 'qcow2' },
  { path: '/srv/middle.qcow2', format: 'qcow2' },
  { path: '/srv/base.raw', format: 'raw' },
] as const

/** The golden cases of disks. */
export const diskCases: readonly GoldenCase[] = [
  goldenCase('disk-chain', { disks: [root], devices: noDevices }, { chains: { root: chain } }),
  goldenCase(
    'disk-raw',
    { disks: [root], devices: noDevices },
    { chains: { root: [{ path: '/srv/root.raw', format: 'raw' }] } },
  ),
  goldenCase(
    'disk-read-only',
    { disks: [{ ...root, readOnly: true }], devices: noDevices },
    { chains: { root: chain } },
  ),
  goldenCase('disk-writeback', {
    disks: [{ ...root, cache: 'writeback', discard: 'ignore' }],
    devices: noDevices,
  }),
  goldenCase('disk-past-the-cache', { disks: [{ ...root, cache: 'none' }], devices: noDevices }),
  goldenCase(
    'disk-not-local',
    { disks: [root], devices: noDevices },
    { disks: [{ disk: 'root', chain: [{ path: '/srv/root.qcow2', format: 'qcow2' }], isLocal: false }] },
  ),
  goldenCase('disk-kvm', { disks: [root], devices: noDevices }, { accelerator: 'kvm' }),
  goldenCase('disk-unsafe', { disks: [{ ...root, cache: 'unsafe' }], devices: noDevices }),
  goldenCase(
    'disk-without-direct-io',
    { disks: [{ ...root, cache: 'none' }], devices: noDevices },
    {
      disks: [{ disk: 'root', chain: [{ path: '/srv/root.qcow2', format: 'qcow2' }], directIo: false }],
    },
  ),
  goldenCase('disk-without-io-thread', {
    cpu: { count: 4 },
    disks: [{ ...root, ioThread: false }],
    devices: noDevices,
  }),
  goldenCase('disk-virtio-scsi', {
    cpu: { count: 2 },
    disks: [
      { ...root, bus: 'virtio-scsi', serial: 'S_1-a', ioThread: true },
      { name: 'data', bus: 'virtio-scsi', ioThread: false },
    ],
    devices: noDevices,
  }),
  goldenCase('disk-boot-order', {
    disks: [
      { name: 'b' },
      { name: 'a' },
      root,
      { name: 'last', bootOrder: 2 },
      { name: 'first', bootOrder: 1 },
    ],
    devices: noDevices,
  }),
  goldenCase('disk-long-and-colliding-names', {
    disks: [
      { name: 'a' },
      { name: 'a-file' },
      { name: 'seed' },
      { name: `x${'-long.name'.repeat(6)}` },
      { name: `x${'-long.name'.repeat(5)}` },
    ],
    cloudInit: {},
    devices: noDevices,
  }),
  goldenCase('disk-many', {
    disks: Array.from({ length: 20 }, (_, index) => ({
      name: `d${String(index).padStart(2, '0')}`,
      ioThread: false,
    })),
    devices: noDevices,
  }),
  ...(['7.2', '10.0'] as const).flatMap((version) => {
    const start = { qemu: version === '7.2' ? qemu7 : qemu10 }
    const named = (name: string) => (version === '7.2' ? name : `${name}-qemu-10.0`)
    return [
      goldenCase(
        named('disk-sata-and-drives'),
        {
          cpu: { count: 2 },
          disks: [
            { name: 'root', size: '1GiB', bus: 'sata' },
            { name: 'install', bus: 'sata', device: 'cdrom', volume: 'iso', bootOrder: 1 },
            { name: 'empty', bus: 'sata', device: 'cdrom' },
            { name: 'tools', bus: 'virtio-scsi', device: 'cdrom', file: '/srv/tools.iso' },
          ],
          devices: noDevices,
        },
        {
          ...start,
          chains: {
            install: [{ path: '/srv/install.raw', format: 'raw' }],
            tools: [{ path: '/srv/tools.iso', format: 'raw' }],
            empty: [],
          },
        },
      ),
      goldenCase(
        named('disk-tuned'),
        {
          cpu: { count: 2 },
          disks: [
            { ...root, aio: 'native', detectZeroes: 'unmap', queues: 3, onError: 'report' },
            { name: 'ring', aio: 'io_uring', onError: 'ignore', ioThread: 'pair' },
            { name: 'pair', detectZeroes: 'on', ioThread: 'pair' },
            { name: 'both', size: '1GiB', shareable: true },
          ],
          devices: noDevices,
        },
        { ...start, chains: { both: [{ path: '/srv/both.raw', format: 'raw' }] } },
      ),
      goldenCase(
        named('disk-luns'),
        {
          cpu: { count: 2 },
          machine: { spareSlots: 5 },
          disks: [
            root,
            { name: 'own', bus: 'virtio-scsi' },
            ...['c', 'a', 'b'].map((name) => ({
              name,
              bus: 'virtio-scsi' as const,
              controller: 'shelf',
              queues: 2,
            })),
            { name: 'cd', bus: 'virtio-scsi', controller: 'shelf', queues: 2, device: 'cdrom' },
          ],
          devices: noDevices,
        },
        { ...start, chains: { cd: [] } },
      ),
    ]
  }),
  goldenCase('cloud-init-seed', { disks: [root], cloudInit: { user: 'admin' }, devices: noDevices }),
]
