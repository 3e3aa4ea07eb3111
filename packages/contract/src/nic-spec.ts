/** What a NIC of a VM should be. */
import { z } from 'zod'
import { macAddress, resourceName } from './names.ts'
import { nicModels } from './nic-model.ts'
import { byteSize } from './units.ts'
import { isNativeInTrunk, vlanId, vlanTrunk } from './vlan.ts'

/** The most ports that lead to one NIC. */
export const mostForwards = 64

/** Queues beyond eight bring nothing but descriptors, whatever there is of vCPUs. */
export const mostNicQueues = 8

/** A port of the host that leads into the guest. */
export const forwardSpec = z
  .strictObject({
    protocol: z.enum(['tcp', 'udp']).default('tcp'),
    hostAddress: z.union([z.ipv4(), z.ipv6()]).default('127.0.0.1'),
    hostPort: z.int().min(1).max(65535),
    guestPort: z.int().min(1).max(65535),
  })
  .meta({ id: 'ForwardSpec' })

/** What a second may bring of one NIC; the kernel's tokens for it are 64 bits of bytes times nanoseconds (net/netfilter/nft_limit.c). */
const nicRate = byteSize
  .refine((size) => size >= 65_536 && size <= 10_000_000_000, 'is not between 64KiB and 10000000000')
  .optional()

/** How much a NIC may send and receive. */
export const nicLimits = z
  .strictObject({ send: nicRate, receive: nicRate })
  .refine(({ send, receive }) => (send ?? receive) !== undefined, 'limits nothing')
  .meta({ id: 'NicLimits' })

/** An address of IPv6, in the one form that RFC 5952 has for it. */
const oneIpv6 = z.ipv6().overwrite((text) => URL.parse(`http://[${text}]`)?.hostname.slice(1, -1) ?? text)

/** A NIC of a VM: on a network, or on user-mode networking of its own. */
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
    ipv6: oneIpv6.optional().meta({
      description:
        'What the network always gives it by DHCPv6, besides what it makes itself by SLAAC; where there is no DHCPv6, what it may send from.',
    }),
    forwards: z
      .array(forwardSpec)
      .max(mostForwards)
      .default([])
      .meta({ description: 'In user mode, or on a network of mode nat.' }),
    antiSpoof: z.boolean().default(false).meta({
      description:
        'What it sends has its own MAC address and the addresses that the network gives it, and it is no DHCP server and no router; of IPv6, it has the addresses that follow from its MAC address, and those that are said. On a macvtap or a bridge of the host it has those that are said, and of IPv4 any where none is.',
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
    queues: z.int().min(1).max(mostNicQueues).optional().meta({
      description: 'Pairs of queues, to receive and to send; as many as vCPUs, up to 8, unless said.',
    }),
    mtu: z.int().min(576).max(65535).optional().meta({
      description: 'What its guest is told, and its tap has; at most, and unless said, that of the network.',
    }),
    offloads: z.enum(['on', 'off']).optional().meta({
      description:
        'Whether its guest leaves checksums and the cutting of packets to the host, and takes such packets from it; on unless said.',
    }),
    link: z.enum(['up', 'down']).default('up').meta({
      description: 'Whether its cable is in, as its guest sees it; changed while that runs.',
    }),
  })
  .overwrite((nic) => (nic.network === undefined ? nic : { ...nic, mode: 'network' as const }))
  .refine(({ mode, network }) => mode !== 'network' || network !== undefined, 'names no network')
  .refine(
    ({ mode, address, ipv6 }) => mode === 'network' || (address ?? ipv6) === undefined,
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
  .refine(
    (nic) => nic.mode === 'network' || !hasVirtioWords(nic),
    'has queues, an MTU or offloads, which only a NIC on a network has: in user mode there is one queue, with neither',
  )
  .refine(
    ({ model = 'virtio', ...nic }) => model === 'virtio' || !hasVirtioWords(nic),
    'has queues, an MTU or offloads, which only a NIC of model virtio has',
  )
  .refine(({ vlan, trunk }) => !isNativeInTrunk(vlan, trunk), 'has one VLAN both with tags and without')
  .meta({ id: 'NicSpec' })

export type NicSpec = z.output<typeof nicSpec>
export type ForwardSpec = z.output<typeof forwardSpec>

/** Whether something is said of a NIC that only virtio-net tells its guest, or has. */
function hasVirtioWords(nic: Partial<Record<'queues' | 'mtu' | 'offloads', unknown>>): boolean {
  return (nic.queues ?? nic.mtu ?? nic.offloads) !== undefined
}
