/** Random specs and what a start adds to them, for property tests: everything that the contract's schema allows and is hostile. */
import { type VmSpec, vmSpec } from '@kvasir/contract'
import fc from 'fast-check'
import { planHardware } from '../pci/allocate.ts'
import type { HardwareInput } from './hardware.ts'
import type { QemuCapabilities } from './qemu-capabilities.ts'

const qemuVersions: readonly QemuCapabilities[] = [
  { version: [7, 2, 22], machines: ['microvm', 'pc-q35-7.2', 'pc-q35-7.1'] },
  { version: [8, 0, 0], machines: ['microvm', 'pc-q35-8.0', 'pc-q35-7.2'] },
  { version: [10, 0, 3], machines: ['microvm', 'pc-q35-10.0', 'pc-q35-9.2', 'pc-q35-7.2'] },
]

/** A name such as the contract allows, with those that could be taken for something else. */
function anyName(): fc.Arbitrary<string> {
  return fc.oneof(
    fc.constantFrom(
      'root',
      'seed',
      'file',
      'a-file',
      'a',
      'base1',
      'monitor',
      'on',
      '0',
      'locking',
      'a.b',
      'rng',
      'port0',
    ),
    fc.stringMatching(/^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/),
  )
}

/** Text that a command line might be split or confused by. */
function anyLine(): fc.Arbitrary<string> {
  const hostile = [
    '-monitor stdio',
    ',locking=off',
    'exec:id',
    '"},"x":"',
    "'",
    '$(id)',
    '-incoming',
    'a=b,,c',
    '%s',
    '\\',
  ]
  const plain = fc.stringMatching(/^[\x20-\x7e]{0,40}$/)
  return fc
    .array(fc.oneof(fc.constantFrom(...hostile), plain), { maxLength: 4 })
    .map((parts) => parts.join(' '))
}

function anyPath(): fc.Arbitrary<string> {
  return anyLine().map((line) => `/srv/${line.replaceAll('..', '')}`)
}

const onOff = fc.boolean()

const topology = fc
  .record({
    sockets: fc.integer({ min: 1, max: 3 }),
    dies: fc.constant(1),
    cores: fc.integer({ min: 1, max: 4 }),
    threads: fc.integer({ min: 1, max: 2 }),
  })
  .map((value) => ({
    count: value.sockets * value.dies * value.cores * value.threads,
    topology: value,
  }))

const anyDisk = fc.record(
  {
    name: anyName(),
    bus: fc.constantFrom('virtio-blk' as const, 'virtio-scsi' as const, 'sata' as const),
    volume: anyName(),
    readOnly: onOff,
    cache: fc.constantFrom('none' as const, 'writeback' as const, 'unsafe' as const),
    discard: fc.constantFrom('unmap' as const, 'ignore' as const),
    aio: fc.constantFrom('threads' as const, 'io_uring' as const),
    detectZeroes: fc.constantFrom('off' as const, 'on' as const),
    queues: fc.integer({ min: 1, max: 64 }),
    ioThread: fc.oneof(onOff, fc.constantFrom('root', 'pair')),
    controller: fc.constantFrom('root', 'shelf'),
    device: fc.constantFrom('disk' as const, 'cdrom' as const),
    onError: fc.constantFrom('pause' as const, 'report' as const, 'ignore' as const),
    serial: fc.stringMatching(/^[A-Za-z0-9_-]{1,20}$/),
    bootOrder: fc.integer({ min: 1, max: 255 }),
  },
  { requiredKeys: ['name'] },
)

/** Without what its bus does not have, and with what its controller's other disks say too. */
const disk = anyDisk.map(({ bus = 'virtio-blk', controller, device, ioThread, queues, ...rest }) => {
  const isShared = controller !== undefined && bus === 'virtio-scsi'
  const isFree = !isShared && bus !== 'sata'
  return {
    ...rest,
    bus,
    ...(isShared ? { controller } : {}),
    ...(device !== undefined && bus !== 'virtio-blk' ? { device } : {}),
    ...(isFree && ioThread !== undefined ? { ioThread } : {}),
    ...(isFree && queues !== undefined ? { queues } : {}),
  }
})

const forward = fc.record({
  protocol: fc.constantFrom('tcp' as const, 'udp' as const),
  hostAddress: fc.constantFrom('127.0.0.1', '::1', '0.0.0.0'),
  hostPort: fc.integer({ min: 1, max: 65535 }),
  guestPort: fc.integer({ min: 1, max: 65535 }),
})

const specInput = fc.record({
  description: anyLine(),
  labels: fc.dictionary(anyName(), anyLine(), { maxKeys: 3 }),
  machine: fc.oneof(
    fc.constant({ type: 'microvm' as const }),
    fc.record({
      type: fc.constant('q35' as const),
      firmware: fc.constantFrom('bios' as const, 'uefi' as const),
    }),
  ),
  cpu: fc
    .tuple(topology, fc.dictionary(fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,20}$/), onOff, { maxKeys: 4 }))
    .map(([cpu, features]) => ({ ...cpu, features })),
  memory: fc.record({
    size: fc.integer({ min: 128, max: 2048 }).map((pages) => pages * 2 ** 21),
    sharing: fc.constantFrom('private' as const, 'shared' as const),
    pageSize: fc.constantFrom('default' as const, '2MiB' as const),
    thp: fc.constantFrom('default' as const, 'always' as const, 'never' as const),
    ksm: onOff,
    preallocate: onOff,
    lock: onOff,
    nodes: fc.uniqueArray(fc.integer({ min: 0, max: 1023 }), { maxLength: 3 }),
    nodePolicy: fc.constantFrom('bind' as const, 'interleave' as const),
  }),
  disks: fc.uniqueArray(disk, { maxLength: 6, selector: ({ name }) => name }),
  nics: fc.uniqueArray(
    fc.record({
      name: anyName(),
      model: fc.constantFrom(undefined, 'virtio' as const, 'e1000e' as const, 'e1000' as const),
      forwards: fc.array(forward, { maxLength: 3 }),
    }),
    { maxLength: 4, selector: ({ name }) => name },
  ),
  hostDevices: fc.uniqueArray(
    fc.record({
      name: anyName(),
      address: fc.integer({ min: 0, max: 31 }).map((n) => `0000:01:${n.toString(16).padStart(2, '0')}.0`),
    }),
    { maxLength: 3, selector: ({ name }) => name },
  ),
  devices: fc.record({
    spice: fc.boolean(),
    display: fc.constantFrom('vga' as const, 'virtio' as const, 'virtio-gl' as const, undefined),
    rng: onOff,
    balloon: onOff,
    agent: onOff,
    channels: fc.uniqueArray(anyName(), { maxLength: 3 }),
    vnc: onOff,
    vsock: onOff,
    panic: onOff,
    watchdog: onOff,
    usb: onOff,
    pointer: fc.constantFrom('ps2' as const, 'usb' as const, 'virtio' as const),
    keyboard: fc.constantFrom('ps2' as const, 'usb' as const, 'virtio' as const, undefined),
    sound: onOff,
    tpm: onOff,
  }),
  lifecycle: fc.record({
    onReboot: fc.constantFrom('restart' as const, 'power-off' as const),
    onWatchdog: fc.constantFrom('reset' as const, 'power-off' as const, 'pause' as const, 'none' as const),
  }),
  clock: fc.record({
    base: fc.constantFrom('utc' as const, 'localtime' as const),
    drift: fc.constantFrom('slew' as const, 'none' as const),
  }),
})

/** A spec as parsing gives it. */
export function anySpec(): fc.Arbitrary<VmSpec> {
  return specInput.map((input) => {
    const isMicrovm = input.machine.type === 'microvm' // It has no SATA.
    const disks = input.disks.map((one) =>
      isMicrovm && one.bus === 'sata' ? { ...one, bus: 'virtio-scsi' as const } : one,
    )
    const { tpm, spice, vnc } = input.devices
    const hasScreen = !isMicrovm && (spice || vnc)
    const display = hasScreen ? input.devices.display : undefined
    const devices = { ...input.devices, tpm: tpm && !isMicrovm, spice: spice && !isMicrovm, display }
    const nics = input.nics.map(({ model, ...nic }) => (isMicrovm ? nic : { ...nic, model }))
    return vmSpec.parse({ ...input, disks, nics, devices })
  })
}

/** A start that is possible: the kernel is there when the machine needs it. */
export function anyInput(): fc.Arbitrary<HardwareInput> {
  const start = fc.record({
    name: anyName(),
    uuid: fc.uuid(),
    accelerator: fc.constantFrom('kvm' as const, 'tcg' as const),
    qemu: fc.constantFrom(...qemuVersions),
    depth: fc.integer({ min: 1, max: 4 }),
    path: anyPath(),
    kernel: fc.record({
      path: anyPath(),
      initrd: fc.option(anyPath(), { nil: undefined }),
      cmdline: anyLine(),
    }),
    boots: onOff,
    seeded: onOff,
    vsock: onOff,
    restored: onOff,
  })
  return fc
    .tuple(anySpec(), start)
    .map(([parsed, { path, depth, boots, seeded, restored, kernel, ...rest }]) => {
      const spec: VmSpec = { ...parsed, ...(seeded ? { cloudInit: { sshKeys: [] } } : {}) }
      const chain = Array.from({ length: depth }, (_, index) => ({
        path: `${path}${index}`,
        format: 'qcow2' as const,
      }))
      return {
        ...rest,
        spec,
        hardware: {
          ...planHardware(spec, undefined, { qemu: rest.qemu, vsockCid: 3 }),
          hostDevices: Object.fromEntries(spec.hostDevices.map((each) => [each.name, each.address ?? ''])),
        },
        disks: spec.disks.map(({ name }) => ({ disk: name, chain })),
        kernel: boots || spec.machine.type === 'microvm' ? kernel : undefined,
        tpmDirectory: `${path}.tpm`,
        firmware: { executable: path, nvramPath: `${path}.nvram` },
        seedPath: seeded ? `${path}.seed` : undefined,
        restorePath: restored ? `${path}.saved` : undefined,
        renderNode: '/dev/dri/renderD128',
      }
    })
}
