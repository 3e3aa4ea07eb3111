/**
 * NICs: virtio-net. In user mode behind passt, which speaks Ethernet frames over a UNIX socket that is connected before either of the two is
 * started; on a network behind a tap, which is open before QEMU is. Other modes will choose another `-netdev` here.
 */
import { KvasirError, type NicSpec, type VmSpec } from '@kvasir/contract'
import { tapName } from '../network/link-names.ts'
import { macFor } from '../vm/mac.ts'
import type { BuildContext } from './build-context.ts'
import type { QemuOptions } from './disk-plan.ts'
import type { EmulatorPlan, TapPlan, UserNicPlan } from './emulator-plan.ts'
import type { HardwareInput } from './hardware.ts'
import { deviceId } from './ids.ts'
import { jsonOption } from './options.ts'
import { type PciBus, pciBus } from './pci-bus.ts'

/** Queues beyond eight bring nothing but descriptors, whatever there is of vCPUs. */
const mostQueues = 8
const usualMtu = 1500

/** The arguments, helpers, taps and ids of all NICs of a VM. */
export interface NicsPlan {
  readonly args: readonly string[]
  readonly userNics: readonly UserNicPlan[]
  readonly taps: readonly TapPlan[]
  readonly ids: EmulatorPlan['ids']['nics']
}

/** A NIC on a network that is plugged while the guest runs. */
export interface NicPlan {
  readonly nic: string
  readonly tap: TapPlan
  readonly ids: EmulatorPlan['ids']['nics'][string]
  readonly device: QemuOptions & { readonly driver: string; readonly id: string }
}

/** One NIC of a spec, as the next boot would make it. */
export function planNic(input: NicInput, name: string): NicPlan {
  const nic = input.spec.nics.find((one) => one.name === name)
  if (!nic) throw new TypeError(`There is no NIC ${name} in the spec.`)
  const tap = tapOf(input, nic)
  const device = deviceOf(input, nic, { bus: pciBus(input), tap })
  return { nic: name, tap, ids: idsOf(nic), device }
}

/** What a NIC on a network is planned from. */
export type NicInput = Pick<HardwareInput, 'name' | 'uuid' | 'spec' | 'hardware' | 'networks'>

/** The network back ends and devices of the VM's NICs, in the order of their names. */
export function nicArgs(context: BuildContext): NicsPlan {
  const { input, bus } = context
  const args: string[] = []
  const userNics: UserNicPlan[] = []
  const taps: TapPlan[] = []
  const ids: Record<string, EmulatorPlan['ids']['nics'][string]> = {}
  const nics = [...input.spec.nics].sort((a, b) => (a.name < b.name ? -1 : 1))
  const macs = new Set<string>()
  for (const nic of nics) {
    const mac = nic.mac ?? macFor(input.uuid, nic.name)
    if (macs.has(mac)) {
      throw new KvasirError(
        'bad-request',
        `VM ${input.name} has two NICs with the MAC address ${mac}, so it cannot start.`,
      )
    }
    macs.add(mac)
    const tap = nic.mode === 'network' ? tapOf(input, nic) : undefined
    if (tap) taps.push(tap)
    else userNics.push({ nic: nic.name, mac, forwards: nic.forwards })
    const { netdev } = idsOf(nic)
    ids[nic.name] = idsOf(nic)
    args.push(
      ...jsonOption('-netdev', tap ? tapBackEnd(context, netdev, tap) : userBackEnd(context, netdev, nic)),
      ...jsonOption('-device', deviceOf(input, nic, { bus, tap })),
    )
  }
  return { args, userNics, taps, ids }
}

function idsOf({ name }: NicSpec): EmulatorPlan['ids']['nics'][string] {
  return { device: deviceId('nic', name), netdev: deviceId('net', name) }
}

function deviceOf(
  { uuid }: Pick<HardwareInput, 'uuid'>,
  nic: NicSpec,
  { bus, tap }: { readonly bus: PciBus; readonly tap: TapPlan | undefined },
): NicPlan['device'] {
  const { device, netdev } = idsOf(nic)
  return {
    driver: 'virtio-net-pci',
    id: device,
    ...bus.place(device),
    'disable-legacy': 'on',
    netdev,
    mac: nic.mac ?? macFor(uuid, nic.name),
    ...(tap && tap.queues > 1 ? { mq: true, vectors: 2 * tap.queues + 2 } : {}),
    ...(tap && tap.mtu !== usualMtu ? { host_mtu: tap.mtu } : {}),
    // Nothing boots from the network yet, and loading the ROM takes time.
    romfile: '',
  }
}

/** How many queues a NIC has on a network: as many as vCPUs, bounded. Facts: QEMU's docs on multiqueue of virtio-net. */
export function queuesOf({ cpu }: Pick<VmSpec, 'cpu'>): number {
  return Math.min(cpu.max ?? cpu.count, mostQueues)
}

function tapOf(input: NicInput, nic: NicSpec): TapPlan {
  const network = input.networks?.[nic.network ?? '']
  if (!network) throw new TypeError(`NIC ${nic.name} is on a network that nothing is known of.`)
  return { nic: nic.name, tap: tapName(input.uuid, nic.name), ...network, queues: queuesOf(input.spec) }
}

function tapBackEnd({ descriptors }: BuildContext, id: string, { tap, queues }: TapPlan) {
  const numbers = Array.from({ length: queues }, (_, queue) => descriptors.add({ kind: 'tap', tap, queue }))
  return { type: 'tap', id, ...(queues === 1 ? { fd: String(numbers[0]) } : { fds: numbers.join(':') }) }
}

function userBackEnd({ descriptors }: BuildContext, id: string, { name }: NicSpec) {
  const addr = { type: 'fd', str: String(descriptors.add({ kind: 'nic', nic: name })) }
  return { type: 'stream', id, server: false, addr }
}
