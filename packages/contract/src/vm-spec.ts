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
import { hostPath, resourceName } from './names.ts'
import { mostForwards, nicSpec } from './nic-spec.ts'
import { shareSpec } from './share-spec.ts'

/** The largest numbers a spec may name. */
export const limits = {
  vcpus: vcpuLimit,
  disks: 256,
  nics: 16,
  hostDevices: 16,
  shares: 16,
  forwards: mostForwards,
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
export type CloudInitSpec = z.output<typeof cloudInitSpec>
