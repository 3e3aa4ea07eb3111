/**
 * Networks of mode sriov: a pool of virtual functions (VFs) of physical functions (PFs), of which each NIC has one to itself.
 *
 * Facts: ip-link(8) on `vf`, Documentation/PCI/pci-iov-howto.rst of the kernel.
 */
import { z } from 'zod'
import { linkName } from './names.ts'
import { byteSize } from './units.ts'

/** The most PFs of a network, and VFs that are asked for of each. */
const sriovLimits = { pfs: 16, vfs: 256 } as const

/** The number of a VLAN; 0 and 4095 mean something else (IEEE 802.1Q). */
const vlanNumber = z
  .int()
  .refine((number) => number >= 1 && number <= 4094, 'is not the number of a VLAN: 1 to 4094')

/** What a network of mode sriov is made of, and what its VFs are set to. */
export const sriovSpec = z
  .strictObject({
    pfs: z
      .array(linkName)
      .min(1, 'names no physical function')
      .max(sriovLimits.pfs)
      .refine((links) => new Set(links).size === links.length, 'names one physical function twice')
      .meta({ description: 'The interfaces of the physical functions whose virtual functions guests get.' }),
    vfs: z.int().min(1).max(sriovLimits.vfs).optional().meta({
      description: 'How many each PF has to have; those that are there, or 8 that are made, unless said.',
    }),
    vlan: vlanNumber.optional().meta({ description: 'The VLAN that guests are in, and know nothing of.' }),
    spoofCheck: z.boolean().default(true).meta({
      description: 'The device drops what a guest sends under another MAC address, or VLAN, than its own.',
    }),
    trust: z.boolean().default(false).meta({
      description: 'The guest may ask the device for more: promiscuous mode, another MAC address.',
    }),
    minSend: byteSize
      .refine((size) => size >= 125_000, 'is less than 125000, the Mbit/s that devices count in')
      .optional()
      .meta({ description: 'Bytes a second that each NIC may send at least, where the device has that.' }),
  })
  .meta({ id: 'SriovSpec' })

export type SriovSpec = z.output<typeof sriovSpec>

/** A PF of a network and its VFs, as they were seen last. */
export const pfStatus = z
  .strictObject({
    pf: linkName,
    address: z.string().optional().meta({ description: 'Absent where the host has no such device now.' }),
    totalVfs: z.int().meta({ description: 'How many VFs it can have.' }),
    made: z.int().optional().meta({ description: 'How many VFs were made for networks of ours.' }),
    vfs: z.array(
      z.strictObject({
        address: z.string(),
        driver: z.string().optional(),
        interfaces: z.array(z.string()),
        vm: z.string().optional().meta({ description: 'The VM that has it.' }),
      }),
    ),
  })
  .meta({ id: 'PfStatus' })
