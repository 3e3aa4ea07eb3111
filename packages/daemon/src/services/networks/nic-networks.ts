/** From the networks that a VM's NICs name to what the VM is started with, and from VMs to what networks are to know of them. */
import { KvasirError, type NicSpec, type VmSpec } from '@kvasir/contract'
import { dnsLabel } from '../../model/network/dns-label.ts'
import type { GuestNic } from '../../model/network/dnsmasq-conf.ts'
import { macOf } from '../../model/network/mac-holders.ts'
import { holderOfLink } from '../../model/network/macvtap.ts'
import { isOthersBridge } from '../../model/network/nic-mtu.ts'
import { needsNetworkFirst, type Wire, wiresOf } from '../../model/network/wires.ts'
import type { NicNetwork } from '../../model/qemu/hardware.ts'
import { isOff } from '../../model/vm/is-off.ts'
import type { Drivers } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { requireNetwork } from './show-network.ts'

/** The networks of a spec's NICs. `network-not-found`, or `network-inactive` for one that is not started, with what follows from it. */
export function nicNetworks(
  spec: Pick<VmSpec, 'nics'>,
  ports: Ports,
  otherwise = 'no VM can be started on it',
): Readonly<Record<string, NicNetwork>> | undefined {
  const names = networkNames(spec)
  if (names.length === 0) return undefined
  return Object.fromEntries(
    names.map((name) => {
      const network = requireNetwork(name, ports)
      const { bridge, mtu, mode, sriov, vlans, started, phase } = network
      const others = isOthersBridge(network) ? { isOthers: true as const } : {}
      const macvtap = mode === 'macvtap' ? { macvtap: true as const } : {}
      if (started && phase === 'ready')
        return [
          name,
          { bridge, mtu, ...others, ...macvtap, ...(sriov && { sriov }), ...(vlans && { vlans }) },
        ]
      throw new KvasirError(
        'network-inactive',
        `Network ${name} is not started, so ${otherwise}; kvasir network start ${name} starts it.`,
        { details: { network: name } },
      )
    }),
  )
}

/** `network-not-found` for a spec with a NIC on a network that there is not. */
export function requireNetworks(spec: Pick<VmSpec, 'nics'>, ports: Pick<Ports, 'store'>): void {
  for (const name of networkNames(spec)) requireNetwork(name, ports)
}

/**
 * The NICs of all VMs on a network: each VM's first with its name, and those that are always given one address with that. Of two VMs whose
 * names are one in DNS, the first has it.
 */
export function guestsOf(network: string, drivers: Drivers): readonly GuestNic[] {
  const seen = new Set<string>()
  return drivers.list().flatMap((driver) => {
    const { id, name, spec } = driver.view().record
    const label = dnsLabel(name)
    return spec.nics.flatMap((nic) => {
      if (nic.network !== network) return []
      const isNamed = !seen.has(label)
      seen.add(label)
      const isUsual = (nic.address ?? nic.ipv6 ?? nic.mtu) === undefined && !nic.antiSpoof
      if (!isNamed && isUsual) return []
      return [
        {
          mac: macOf(id, nic),
          ...(nic.address === undefined ? {} : { address: nic.address }),
          ...(nic.ipv6 === undefined ? {} : { ipv6: nic.ipv6 }),
          ...(isNamed ? { name: label } : {}),
          ...(nic.antiSpoof ? { isGuarded: true } : {}),
          ...(nic.mtu === undefined ? {} : { mtu: nic.mtu }),
        },
      ]
    })
  })
}

/** The NICs on a network with which VMs run, or are being started. */
export function wiresOn(network: string, drivers: Drivers): readonly Wire[] {
  return drivers
    .list()
    .flatMap((driver) => wiresOf(driver.view().record))
    .filter((wire) => wire.network === network)
}

/** Tells networks of the NICs that they have to know before a VM's guest runs. `host-failed` with what does not go. */
export async function announceNics(
  { spec }: Pick<VmRecord, 'spec'>,
  { ports, networks }: Pick<Context, 'ports' | 'networks'>,
): Promise<void> {
  const isFirst = (nic: NicSpec) => needsNetworkFirst(nic) && !isOnMacvtap(nic, ports)
  for (const name of networkNames({ nics: spec.nics.filter(isFirst) }))
    await networks.inTurn(async () => {
      const network = requireNetwork(name, ports)
      if (network.started && network.phase === 'ready') await networks.rewire(network)
    })
}

/** Tells networks of NICs that come to a guest that runs, or are others now. `host-failed` with what does not go. */
export async function wireNics(
  { spec }: Pick<VmRecord, 'spec'>,
  { ports, networks }: Pick<Context, 'ports' | 'networks'>,
  isMeant: (nic: NicSpec) => boolean,
): Promise<void> {
  for (const name of networkNames({ nics: spec.nics.filter(isMeant) }))
    await networks.inTurn(async () => {
      const network = requireNetwork(name, ports)
      if (network.started && network.phase === 'ready') await networks.raise(network)
    })
}

/** Makes the macvtaps of a VM's NICs, with all that their networks do for them: whoever starts the emulator only opens them. */
export async function makeMacvtaps(
  vm: Pick<VmRecord, 'spec'>,
  context: Pick<Context, 'ports' | 'networks'>,
): Promise<void> {
  await wireNics(vm, context, (nic) => isOnMacvtap(nic, context.ports))
}

function isOnMacvtap({ network }: NicSpec, ports: Pick<Ports, 'store'>): boolean {
  return network !== undefined && requireNetwork(network, ports).mode === 'macvtap'
}

/** `in-use` when another NIC has a link that only one can have. Whoever asks writes the VM's claim down before anything else happens. */
export function requireUnheldLinks(
  { name, spec }: Pick<VmRecord, 'name' | 'spec'>,
  { ports, drivers }: Pick<Context, 'ports' | 'drivers'>,
): void {
  for (const nic of spec.nics) {
    const network = nic.network === undefined ? undefined : requireNetwork(nic.network, ports)
    if (network?.macvtap !== 'passthru') continue
    const twin = spec.nics.find((other) => other !== nic && other.network === nic.network)
    const holder = twin
      ? { vm: name, nic: twin.name }
      : holderOfLink(wiresOn(network.name, drivers), { vm: name, nic: nic.name })
    if (holder === undefined) continue
    throw new KvasirError(
      'in-use',
      `NIC ${holder.nic} of VM ${holder.vm} has the link ${network.bridge} for itself (network ${network.name}, passthru), so NIC ${nic.name} of VM ${name} cannot have it.`,
      { details: { network: network.name, link: network.bridge, vm: holder.vm } },
    )
  }
}

/** `in-use` while a VM runs with a NIC on a network, or, where any is meant, has one. */
export function requireUnused(network: string, drivers: Drivers, { any }: { readonly any: boolean }): void {
  for (const driver of drivers.list()) {
    const { record } = driver.view()
    if (!specsOf(record).some((spec) => networkNames(spec).includes(network))) continue
    if (!any && isOff(record)) continue
    const how = isOff(record) ? 'has' : 'runs with'
    throw new KvasirError(
      'in-use',
      `VM ${record.name} ${how} a NIC on network ${network}, so the network is not ${any ? 'deleted' : 'stopped'}.`,
      { details: { network, vm: record.name } },
    )
  }
}

/** What a VM is to be, and what it was booted as. */
function specsOf({ spec, run }: VmRecord): readonly VmSpec[] {
  return run ? [spec, run.bootedSpec] : [spec]
}

function networkNames({ nics }: Pick<VmSpec, 'nics'>): readonly string[] {
  return [...new Set(nics.flatMap(({ network }) => network ?? []))]
}
