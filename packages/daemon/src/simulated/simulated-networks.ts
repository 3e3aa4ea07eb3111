/** The networks of a simulated machine: they are there or not, and nobody is on them. */
import { KvasirError } from '@kvasir/contract'
import { goneWords, poolFindings } from '../model/network/vf-findings.ts'
import type { Wire } from '../model/network/wires.ts'
import type { NetworkPart, Networks } from '../ports/networks.ts'
import type { SimulatedMachine, SimulatedNetwork } from './machine.ts'

const parts: readonly NetworkPart[] = ['rules', 'journal', 'uplink', 'bridge', 'forwarding', 'dnsmasq']
const simulatedPid = 4321
const unreadRules = { thing: 'firewall', detail: 'Its rules cannot be looked at.' } as const

/** What is amiss with the physical functions of one of mode sriov, and with the virtual ones that guests have. */
function inspectSriov(machine: SimulatedMachine, { network, wires, findings }: SimulatedNetwork) {
  const pools = (network.sriov?.pfs ?? []).map((pf) => {
    const found = machine.hostNetwork.pfs?.find((one) => one.pf === pf)
    return { pf, totalVfs: 0, isUp: false, vfs: [], made: undefined, address: undefined, ...found }
  })
  const gone = wires.flatMap((wire) =>
    wire.vf === undefined || hasDevice(machine, wire.vf.address)
      ? []
      : [{ thing: 'sriov' as const, detail: goneWords(wire, wire.vf.address) }],
  )
  return { findings: [...findings, ...poolFindings(pools), ...gone], dnsmasqPid: undefined, pools }
}

function requireVfs(machine: SimulatedMachine, wires: readonly Wire[]): void {
  for (const wire of wires)
    if (wire.vf !== undefined && !hasDevice(machine, wire.vf.address))
      throw new KvasirError('host-failed', goneWords(wire, wire.vf.address))
}

function hasDevice({ devices }: SimulatedMachine, address: string): boolean {
  return devices.pci.some((device) => device.address === address)
}

function requireNft({ hasNft }: SimulatedMachine): void {
  if (!hasNft) throw new KvasirError('unsupported', 'nft of the package nftables is not installed.')
}

/** Its networks. */
export function createSimulatedNetworks(machine: SimulatedMachine): Networks {
  return {
    survey: async () => machine.hostNetwork,
    listeners: async () => machine.listeners,
    filters: async () => machine.filters,
    async raise(network, { guests, wires, onPart }) {
      requireNft(machine)
      for (const part of parts) await onPart?.(part)
      if (network.sriov) requireVfs(machine, wires)
      machine.networks.set(network.id, { network, guests, wires, findings: [] })
    },
    async rewire({ id }, wires) {
      const there = machine.networks.get(id)
      if (there) machine.networks.set(id, { ...there, wires })
    },
    async lower({ id }, { onUplinkBack } = {}) {
      requireNft(machine)
      await onUplinkBack?.()
      machine.networks.delete(id)
    },
    async inspect({ id }, { deep, wires }) {
      const there = machine.networks.get(id)
      if (!there)
        return { findings: [{ thing: 'bridge', detail: 'Its bridge is gone.' }], dnsmasqPid: undefined }
      if (there.network.sriov) return inspectSriov(machine, { ...there, wires })
      const isServed = !there.findings.some(({ thing }) => thing === 'dnsmasq')
      return {
        findings: deep && !machine.hasNft ? [...there.findings, unreadRules] : there.findings,
        dnsmasqPid: isServed ? simulatedPid : undefined,
        uplinks: ['eth0'],
        ruleCounts: there.ruleCounts,
      }
    },
    leases: async () => [],
    async forget() {},
    present: async () => [...machine.networks.keys()],
  }
}
