/**
 * What a VM should be: the spec, as the user writes it. Declarative and free of order: devices are told apart by their names, never
 * by their places in a list. Unknown keys are refused.
 *
 * `vmSpecInput` is what a request may say, with defaults filled in by parsing; `VmSpec` is the result. What the daemon decides at
 * creation (machine version, MAC addresses, PCI addresses, volumes) is written into the spec or the hardware record and then kept.
 */
import { z } from 'zod'
import { cpuSpec, vcpuLimit } from './cpu-spec.ts'
import { devicesSpec } from './devices-spec.ts'
import { diskSpec, sharesControllers } from './disk-spec.ts'
import { sharesLimits } from './disk-throttle.ts'
import { hostDeviceSpec } from './host-device.ts'
import { memorySpec } from './memory-spec.ts'
import { hostPath, macAddress, resourceName } from './names.ts'
import { nicModels } from './nic-model.ts'
import { shareSpec } from './share-spec.ts'
import { byteSize } from './units.ts'
import { isNativeInTrunk, vlanId, vlanTrunk } from './vlan.ts'

/** The largest numbers a spec may name. */
export const limits = {
  vcpus: vcpuLimit,
  disks: 256,
  nics: 16,
  hostDevices: 16,
  shares: 16,
  forwards: 64,
  labels: 64,
  spareSlots: 32,
} as const

export const accelerators = ['auto', 'kvm', 'tcg'] as const

const machine = z
  .strictObject({
    type: z.enum(['q35', 'microvm']).default('q35'),
    version: z
      .string()
      .regex(/^\d{1,2}\.\d{1,2}$/, 'is not a machine version such as 7.2')
      .optional()
      .meta({ description: 'Pinned at creation to the newest that the QEMU at hand offers.' }),
    firmware: z
      .enum(['bios', 'uefi'])
      .default('bios')
      .meta({ description: 'uefi has variables of its own for each VM, which are kept with its disks.' }),
    secureBoot: z
      .boolean()
      .optional()
      .meta({ description: 'UEFI boots only what is signed by a key that it knows; those of Microsoft.' }),
    spareSlots: z
      .int()
      .min(0)
      .max(limits.spareSlots)
      .optional()
      .meta({ description: 'Slots that are empty after a boot, to plug disks into; 2 unless said.' }),
  })
  .refine(
    ({ firmware, secureBoot }) => firmware === 'uefi' || !secureBoot,
    'has secureBoot, which only a VM with firmware uefi has',
  )
  .prefault({})

const kernelBoot = z.strictObject({
  kernel: hostPath,
  initrd: hostPath.optional(),
  cmdline: z
    .string()
    .max(2048)
    .regex(/^[\x20-\x7e]*$/, 'has characters other than printable ASCII')
    .default(''),
})

const boot = z
  .strictObject({
    kernel: kernelBoot
      .optional()
      .meta({ description: 'Boots a kernel of the host directly; without it, the image or the disk.' }),
    cmdline: z
      .string()
      .max(2048)
      .regex(/^[\x20-\x7e]*$/, 'has characters other than printable ASCII')
      .optional()
      .meta({ description: 'Added to the kernel command line of an image that boots its kernel directly.' }),
  })
  .prefault({})

/** A port of the host that leads into the guest. */
export const forwardSpec = z
  .strictObject({
    protocol: z.enum(['tcp', 'udp']).default('tcp'),
    hostAddress: z.union([z.ipv4(), z.ipv6()]).default('127.0.0.1'),
    hostPort: z.int().min(1).max(65535),
    guestPort: z.int().min(1).max(65535),
  })
  .meta({ id: 'ForwardSpec' })

/** A NIC of a VM: on a network, or on user-mode networking of its own. */
/** What a second may bring of one NIC; the kernel's tokens for it are 64 bits of bytes times nanoseconds (net/netfilter/nft_limit.c). */
const nicRate = byteSize
  .refine((size) => size >= 65_536 && size <= 10_000_000_000, 'is not between 64KiB and 10000000000')
  .optional()

/** How much a NIC may send and receive. */
export const nicLimits = z
  .strictObject({ send: nicRate, receive: nicRate })
  .refine(({ send, receive }) => (send ?? receive) !== undefined, 'limits nothing')
  .meta({ id: 'NicLimits' })

export const nicSpec = z
  .strictObject({
    name: resourceName,
    mode: z.enum(['user', 'network']).default('user').meta({ description: 'Network where one is named.' }),
    network: resourceName.optional().meta({ description: 'The network that it is on.' }),
    model: z.enum(nicModels).optional().meta({
      description:
        'What it is for the guest: virtio unless said; the others are for guests without its driver, have one queue and are served by the emulator.',
    }),
    mac: macAddress.optional().meta({ description: 'Given at creation and then kept.' }),
    address: z.ipv4().optional().meta({
      description:
        'What the network always gives it by DHCP; chosen and then kept where it has forwards or antiSpoof.',
    }),
    forwards: z
      .array(forwardSpec)
      .max(limits.forwards)
      .default([])
      .meta({ description: 'In user mode, or on a network of mode nat.' }),
    antiSpoof: z.boolean().default(false).meta({
      description:
        'What it sends has its own MAC address and the addresses that the network gives it, and it is no DHCP server and no router; of IPv6, it has the addresses that follow from its MAC address.',
    }),
    isolated: z
      .boolean()
      .default(false)
      .meta({ description: 'Nothing goes between it and other isolated NICs of its network.' }),
    limits: nicLimits.optional().meta({
      description:
        'Bytes a second that it sends and receives at most, after a burst of a second; what is more is dropped.',
    }),
    vlan: vlanId.optional(),
    trunk: vlanTrunk.optional(),
    link: z.enum(['up', 'down']).default('up').meta({
      description: 'Whether its cable is in, as its guest sees it; changed while that runs.',
    }),
  })
  .overwrite((nic) => (nic.network === undefined ? nic : { ...nic, mode: 'network' as const }))
  .refine(({ mode, network }) => mode !== 'network' || network !== undefined, 'names no network')
  .refine(
    ({ mode, address }) => mode === 'network' || address === undefined,
    'has an address, which only a NIC on a network has',
  )
  .refine(
    ({ mode, limits }) => mode === 'network' || limits === undefined,
    'has limits, which only a NIC on a network has',
  )
  .refine(
    ({ mode, antiSpoof, isolated }) => mode === 'network' || !(antiSpoof || isolated),
    'has antiSpoof or isolated, which only a NIC on a network has',
  )
  .refine(
    ({ mode, vlan, trunk }) => mode === 'network' || (vlan ?? trunk) === undefined,
    'has VLANs, which only a NIC on a network has',
  )
  .refine(({ vlan, trunk }) => !isNativeInTrunk(vlan, trunk), 'has one VLAN both with tags and without')
  .meta({ id: 'NicSpec' })

/** First-boot configuration, handed over as a NoCloud seed. Its presence attaches the seed disk. */
export const cloudInitSpec = z
  .strictObject({
    user: z
      .string()
      .regex(/^[a-z_][a-z0-9_-]{0,31}$/, 'is not a user name')
      .optional(),
    sshKeys: z
      .array(
        z
          .string()
          .max(16384)
          .regex(/^[^\n\r\0]+$/, 'is not one line'),
      )
      .max(64)
      .default([]),
    passwordHash: z
      .string()
      .max(512)
      .regex(/^\$[0-9a-z]+\$[^\n\r\0: ]+$/, 'is not a crypt(3) hash such as $6$...')
      .optional(),
    hostname: resourceName.optional(),
    network: z
      .record(z.string(), z.unknown())
      .optional()
      .meta({ description: 'A cloud-init network configuration, version 2.' }),
    userData: z
      .string()
      .max(1024 * 1024)
      .optional()
      .meta({ description: 'Used as it is in place of what the other fields give.' }),
  })
  .meta({ id: 'CloudInitSpec' })

const lifecycle = z
  .strictObject({
    onReboot: z.enum(['restart', 'power-off']).default('restart'),
    onPowerOff: z.enum(['stop', 'restart']).default('stop'),
    onPanic: z.enum(['stop', 'restart', 'pause']).default('pause'),
    onWatchdog: z.enum(['reset', 'power-off', 'pause', 'none']).default('reset'),
    onCrash: z
      .enum(['stop', 'restart'])
      .default('stop')
      .meta({ description: 'When the emulator itself dies.' }),
    shutdownTimeoutSeconds: z.int().min(1).max(3600).default(90),
  })
  .prefault({})

const autostart = z
  .strictObject({
    enabled: z.boolean().default(false),
    order: z.int().min(0).max(10000).default(100),
    delaySeconds: z
      .int()
      .min(0)
      .max(3600)
      .default(0)
      .meta({ description: 'Waited after this VM before the next one.' }),
  })
  .prefault({})

const clock = z
  .strictObject({
    base: z.enum(['utc', 'localtime']).default('utc'),
    drift: z
      .enum(['slew', 'none'])
      .default('slew')
      .meta({ description: 'slew: missed RTC ticks are caught up slowly (driftfix=slew).' }),
  })
  .prefault({})

/** Refuses lists in which two devices share a name. */
function uniqueNames(items: readonly { readonly name: string }[]): boolean {
  return new Set(items.map((item) => item.name)).size === items.length
}

/** A VM's spec as a request may write it; parsing fills in the defaults. */
export const vmSpec = z
  .strictObject({
    description: z.string().max(1024).default(''),
    labels: z
      .record(resourceName, z.string().max(256))
      .refine(
        (labels) => Object.keys(labels).length <= limits.labels,
        `has more than ${limits.labels} labels`,
      )
      .default({}),
    image: z
      .string()
      .max(128)
      .optional()
      .meta({ description: 'The name or id of the image to boot; kept as its id.' }),
    accelerator: z.enum(accelerators).default('auto'),
    machine,
    cpu: cpuSpec,
    memory: memorySpec,
    boot,
    disks: z
      .array(diskSpec)
      .max(limits.disks)
      .refine(uniqueNames, 'has two disks of one name')
      .refine(sharesLimits, 'has two disks of one throttle group with different limits')
      .refine(sharesControllers, 'has two disks of one controller with different I/O threads or queues')
      .default([]),
    nics: z.array(nicSpec).max(limits.nics).refine(uniqueNames, 'has two NICs of one name').default([]),
    hostDevices: z
      .array(hostDeviceSpec)
      .max(limits.hostDevices)
      .refine(uniqueNames, 'has two host devices of one name')
      .default([]),
    shares: z
      .array(shareSpec)
      .max(limits.shares)
      .refine(uniqueNames, 'has two shares of one name')
      .default([])
      .meta({ description: 'Folders of the host. They take shared memory, which their VM then has.' }),
    cloudInit: cloudInitSpec.optional(),
    devices: devicesSpec,
    lifecycle,
    autostart,
    clock,
  })
  .overwrite((spec) =>
    spec.shares.length === 0 ? spec : { ...spec, memory: { ...spec.memory, sharing: 'shared' as const } },
  )
  .meta({ id: 'VmSpec' })

export type VmSpec = z.output<typeof vmSpec>
export type VmSpecInput = z.input<typeof vmSpec>
export type NicSpec = z.output<typeof nicSpec>
export type ForwardSpec = z.output<typeof forwardSpec>
export type CloudInitSpec = z.output<typeof cloudInitSpec>
