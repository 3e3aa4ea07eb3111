/** Devices of the host that a VM could be given: PCI functions, USB devices, mediated devices. */
import { z } from 'zod'
import { resourceName } from './names.ts'

export const hostDevice = z
  .strictObject({
    kind: z.enum(['pci', 'usb', 'mdev']),
    address: z.string().meta({
      description:
        'Of a PCI function such as 0000:3b:00.1, of a USB device bus and ports such as 1-2.4, of a mediated device its UUID.',
    }),
    what: z.string().meta({ description: 'Its class, or what it says that it is.' }),
    vendorId: z.string().optional(),
    deviceId: z.string().optional(),
    driver: z.string().optional(),
    node: z.int().optional().meta({ description: 'The NUMA node that it is near.' }),
    iommuGroup: z.int().optional(),
    physicalFunction: z
      .string()
      .optional()
      .meta({ description: 'Of a virtual function (VF): the device it is of.' }),
    interfaces: z.array(z.string()),
    resetMethods: z
      .array(z.string())
      .meta({ description: 'How the kernel can reset it; none: it goes to the next as it was left.' }),
    vm: z.string().optional().meta({ description: 'The VM that has it.' }),
    usedBy: z
      .array(z.string())
      .meta({ description: 'What the host uses it for, as clauses: a VM gets it by force only.' }),
    assignable: z.boolean().meta({ description: 'Whether it can be given to a VM, what uses it aside.' }),
    reason: z.string(),
  })
  .meta({ id: 'HostDevice' })

/** An address such as `0000:3b:00.1`, in full and in lower case; one without a domain is of domain 0000. */
const pciAddress = z
  .string()
  .toLowerCase()
  .overwrite((text) => (/^[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/.test(text) ? `0000:${text}` : text))
  .regex(
    /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/,
    'is not the address of a PCI function such as 0000:3b:00.1',
  )

/** A device of the host that a VM is given, by its address or by what it is. */
export const hostDeviceSpec = z
  .strictObject({
    name: resourceName,
    address: pciAddress.optional().meta({ description: 'Of a PCI function.' }),
    vf: z
      .string()
      .regex(/^[^\s/]{1,15}$/, 'is not the name of an interface')
      .optional()
      .meta({ description: 'Any free virtual function of the device with this interface.' }),
    model: z
      .string()
      .toLowerCase()
      .regex(/^[0-9a-f]{4}:[0-9a-f]{4}$/, 'is not a vendor and a device such as 10de:2204')
      .optional()
      .meta({ description: 'Any free PCI function of this vendor and device.' }),
    force: z.boolean().default(false).meta({
      description:
        'Also when the host uses it, which it then does no more, and when the kernel cannot reset it.',
    }),
    rom: z.boolean().default(true).meta({ description: 'Whether the guest sees its option ROM.' }),
    romFile: z.string().max(4096).regex(/^\//, 'is not an absolute path').optional().meta({
      description: 'A file of the host that the guest gets instead of its option ROM; read at each start.',
    }),
    with: resourceName.optional().meta({
      description:
        'Another host device of the VM, function 0 of the same device of the host: both sit at one slot of the guest, each under its own function.',
    }),
  })
  .refine(
    (device) => device.with === undefined || device.address !== undefined,
    'sits with another, and is not named by its address',
  )
  .refine(({ rom, romFile }) => rom || romFile === undefined, 'has a romFile, and no ROM to be replaced')
  .refine(
    ({ address, vf, model }) => [address, vf, model].filter((way) => way !== undefined).length === 1,
    'says not exactly one of address, vf and model',
  )
  .meta({ id: 'HostDeviceSpec' })

export type HostDeviceSpec = z.output<typeof hostDeviceSpec>
export type HostDevice = z.output<typeof hostDevice>
