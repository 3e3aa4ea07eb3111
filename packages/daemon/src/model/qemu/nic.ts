/**
 * NICs: virtio-net, or a card for old guests (nic-models.ts). In user mode behind passt or slirp, which speaks Ethernet frames over a UNIX socket that is connected before either of the two is
 * started; on a network behind a tap, which is open before QEMU is. On a network of mode sriov it is no such thing (vf-nic.ts).
 *
 * Where the host has vhost-net, its kernel moves the packets of a guest with KVM, a worker thread for each queue, and QEMU's main thread has no
 * part in it (QEMU: net/tap.c, hw/net/vhost_net.c). Under TCG the guest itself is slower than that thread, and QEMU serves it.
 */
import { KvasirError, mostNicQueues, type NicSpec, type VmSpec } from '@kvasir/contract'
import { tapName } from '../network/link-names.ts'
import { nicMtus } from '../network/nic-mtu.ts'
import { vlansOf } from '../network/port-vlans.ts'
import { macFor } from '../vm/mac.ts'
import type { BuildContext } from './build-context.ts'
import type { QemuOptions } from './disk-plan.ts'
import {
  type EmulatorPlan,
  type NicIds,
  type TapPlan,
  type UserNicPlan,
  vhostNetDevice,
} from './emulator-plan.ts'
import type { HardwareInput } from './hardware.ts'
import { deviceId } from './ids.ts'
import { isVirtio, modelOf, nicSlot, requireNicModels } from './nic-models.ts'
import { offloadOptions } from './nic-offloads.ts'
import { jsonOption } from './options.ts'
import { type PciBus, pciBus } from './pci-bus.ts'
import { isVf, vfArgs } from './vf-nic.ts'

const usualMtu = 1500

/** The arguments, helpers, taps and ids of all NICs of a VM. */
export interface NicsPlan {
  readonly args: readonly string[]
  readonly userNics: readonly UserNicPlan[]
  readonly taps: readonly TapPlan[]
  readonly ids: EmulatorPlan['ids']['nics']
}

/** A NIC that is plugged while the guest runs: on a network behind a tap, in user mode before a process that serves it. */
export interface NicPlan {
  readonly nic: string
  readonly backEnd:
    | { readonly kind: 'tap'; readonly tap: TapPlan }
    | { readonly kind: 'user'; readonly user: UserNicPlan }
  readonly ids: NicIds
  readonly device: QemuOptions & { readonly driver: string; readonly id: string }
}

/** One NIC of a spec, as the next boot would make it. */
export function planNic(input: NicInput, name: string): NicPlan {
  const nic = input.spec.nics.find((one) => one.name === name)
  if (!nic) throw new TypeError(`There is no NIC ${name} in the spec.`)
  const tap = nic.mode === 'network' ? tapOf(input, nic) : undefined
  const device = deviceOf(input, nic, { bus: pciBus(input), tap })
  const backEnd = tap
    ? ({ kind: 'tap', tap } as const)
    : ({ kind: 'user', user: userNicOf(input, nic) } as const)
  return { nic: name, backEnd, ids: idsOf(nic, tap), device }
}

/** What a NIC on a network is planned from. */
export type NicInput = Pick<
  HardwareInput,
  'name' | 'uuid' | 'spec' | 'hardware' | 'networks' | 'accelerator' | 'vhostNet'
>

/** The network back ends and devices of the VM's NICs, in the order of their names. */
export function nicArgs(context: BuildContext): NicsPlan {
  const { input, bus } = context
  requireNicModels(input.spec, input.qemu)
  const args: string[] = []
  const userNics: UserNicPlan[] = []
  const taps: TapPlan[] = []
  const ids: Record<string, NicIds> = {}
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
    if (isVf(input, nic)) {
      args.push(...vfArgs(context, nic.name))
      continue
    }
    const tap = nic.mode === 'network' ? tapOf(input, nic) : undefined
    if (tap) taps.push(tap)
    else userNics.push(userNicOf(input, nic))
    const { netdev } = idsOf(nic, tap)
    ids[nic.name] = idsOf(nic, tap)
    args.push(
      ...jsonOption('-netdev', tap ? tapBackEnd(context, netdev, tap) : userBackEnd(context, netdev, nic)),
      ...jsonOption('-device', deviceOf(input, nic, { bus, tap })),
    )
  }
  return { args, userNics, taps, ids }
}

function idsOf({ name }: NicSpec, tap: TapPlan | undefined): NicIds {
  const ids = { device: deviceId('nic', name), netdev: deviceId('net', name) }
  return { ...ids, ...(tap?.vhost ? { vhost: true } : {}), ...(tap?.macvtap ? { macvtap: true } : {}) }
}

function deviceOf(
  { uuid, spec }: Pick<HardwareInput, 'uuid' | 'spec'>,
  nic: NicSpec,
  { bus, tap }: { readonly bus: PciBus; readonly tap: TapPlan | undefined },
): NicPlan['device'] {
  const { device, netdev } = idsOf(nic, tap)
  const mac = nic.mac ?? macFor(uuid, nic.name)
  const place = bus.place(nicSlot(nic))
  if (!isVirtio(nic)) return { driver: modelOf(nic), id: device, ...place, netdev, mac, romfile: '' }
  return {
    driver: 'virtio-net-pci',
    id: device,
    ...place,
    'disable-legacy': 'on',
    netdev,
    mac,
    ...(tap && tap.queues > 1 ? { mq: true, vectors: 2 * tap.queues + 2 } : {}),
    ...(tap && (nic.mtu !== undefined || tap.guestMtu !== usualMtu) ? { host_mtu: tap.guestMtu } : {}),
    ...offloadOptions(nic, spec.machine),
    // Nothing boots from the network yet, and loading the ROM takes time.
    romfile: '',
  }
}

/** How many queues a NIC has on a network: as it says, or as many as vCPUs, bounded. Facts: QEMU's docs on multiqueue of virtio-net. */
export function queuesOf({ cpu }: Pick<VmSpec, 'cpu'>, nic: Pick<NicSpec, 'model' | 'queues'>): number {
  if (!isVirtio(nic)) return 1
  return nic.queues ?? Math.min(cpu.max ?? cpu.count, mostNicQueues)
}

function tapOf(input: NicInput, nic: NicSpec): TapPlan {
  const network = input.networks?.[nic.network ?? '']
  if (!network) throw new TypeError(`NIC ${nic.name} is on a network that nothing is known of.`)
  const vhost = input.accelerator === 'kvm' && input.vhostNet === true && isVirtio(nic)
  const vlans = vlansOf({ vlans: network.vlans }, nic)
  return {
    nic: nic.name,
    tap: tapName(input.uuid, nic.name),
    bridge: network.bridge,
    ...nicMtus(network, nic),
    ...(network.macvtap ? { macvtap: true } : {}),
    ...(vlans === undefined ? {} : { vlans }),
    queues: queuesOf(input.spec, nic),
    vhost,
  }
}

function tapBackEnd({ descriptors }: BuildContext, id: string, { tap, queues, vhost }: TapPlan) {
  const each = Array.from({ length: queues }, (_, queue) => queue)
  const fds = each.map((queue) => String(descriptors.add({ kind: 'tap', tap, queue })))
  const vhostFds = vhost
    ? each.map(() => String(descriptors.add({ kind: 'device', path: vhostNetDevice })))
    : []
  return tapOptions(id, { fds, vhostFds })
}

/** The back end of a tap whose queues, and what serves them in the kernel, QEMU has by these names or numbers. */
export function tapOptions(
  id: string,
  { fds, vhostFds }: { readonly fds: readonly string[]; readonly vhostFds: readonly string[] },
) {
  const isOne = fds.length === 1
  return {
    type: 'tap',
    id,
    ...(isOne ? { fd: fds.join() } : { fds: fds.join(':') }),
    ...(vhostFds.length === 0 ? {} : { vhost: true }),
    ...(vhostFds.length === 0 ? {} : isOne ? { vhostfd: vhostFds.join() } : { vhostfds: vhostFds.join(':') }),
  }
}

function userNicOf({ uuid }: Pick<HardwareInput, 'uuid'>, { name, mac, forwards }: NicSpec): UserNicPlan {
  return { nic: name, mac: mac ?? macFor(uuid, name), forwards }
}

function userBackEnd({ descriptors }: BuildContext, id: string, { name }: NicSpec) {
  const addr = { type: 'fd', str: String(descriptors.add({ kind: 'nic', nic: name })) }
  return { type: 'stream', id, server: false, addr }
}

/**
 * The back end of a NIC that is plugged, on a connected socket that the monitor has by this name. `stream` looks the name up in a thread that has
 * no monitor, so it never comes up (QEMU 7.2: net/stream.c, util/qemu-sockets.c); `socket` frames packets as that does.
 */
export function socketOptions(id: string, fdname: string) {
  return { type: 'socket', id, fd: fdname }
}
