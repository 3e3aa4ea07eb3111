/** From the networks that a VM's NICs name to what the VM is started with, and from VMs to what networks are to know of them. */
import { KvasirError, type Reservation, type VmSpec } from '@kvasir/contract'
import { dnsLabel } from '../../model/network/dns-label.ts'
import { tapName } from '../../model/network/link-names.ts'
import { macOf } from '../../model/network/mac-holders.ts'
import type { NicNetwork } from '../../model/qemu/hardware.ts'
import { isOff } from '../../model/vm/is-off.ts'
import type { Drivers } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'
import { requireNetwork } from './show-network.ts'

/** The networks of a spec's NICs. `network-not-found`, or `network-inactive` for one that is not started. */
export function nicNetworks(
  spec: Pick<VmSpec, 'nics'>,
  ports: Ports,
): Readonly<Record<string, NicNetwork>> | undefined {
  const names = networkNames(spec)
  if (names.length === 0) return undefined
  return Object.fromEntries(
    names.map((name) => {
      const { bridge, mtu, started, phase } = requireNetwork(name, ports)
      if (started && phase === 'ready') return [name, { bridge, mtu }]
      throw new KvasirError(
        'network-inactive',
        `Network ${name} is not started, so no VM can be started on it; kvasir network start ${name} starts it.`,
        { details: { network: name } },
      )
    }),
  )
}

/** `network-not-found` for a spec with a NIC on a network that there is not. */
export function requireNetworks(spec: Pick<VmSpec, 'nics'>, ports: Pick<Ports, 'store'>): void {
  for (const name of networkNames(spec)) requireNetwork(name, ports)
}

/** The NICs of all VMs on a network, each VM's first with its name. Two VMs whose names are one in DNS: the first has it. */
export function guestsOf(network: string, drivers: Drivers): readonly Reservation[] {
  const seen = new Set<string>()
  return drivers.list().flatMap((driver) => {
    const { id, name, spec } = driver.view().record
    const label = dnsLabel(name)
    const nic = spec.nics.find((candidate) => candidate.network === network)
    if (!nic || seen.has(label)) return []
    seen.add(label)
    return [{ mac: macOf(id, nic), name: label }]
  })
}

/** The taps of VMs that run with a NIC on a network. */
export function tapsOf(network: string, drivers: Drivers): readonly string[] {
  return drivers.list().flatMap((driver) => {
    const { id, run } = driver.view().record
    const nics = run?.bootedSpec.nics.filter((nic) => nic.network === network) ?? []
    return nics.map((nic) => tapName(id, nic.name))
  })
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
