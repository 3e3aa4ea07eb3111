/** The networks of a simulated machine: they are there or not, and nobody is on them. */
import type { NetworkPart, Networks } from '../ports/networks.ts'
import type { SimulatedMachine } from './machine.ts'

const parts: readonly NetworkPart[] = ['rules', 'journal', 'uplink', 'bridge', 'forwarding', 'dnsmasq']
const simulatedPid = 4321

/** Its networks. */
export function createSimulatedNetworks(machine: SimulatedMachine): Networks {
  return {
    survey: async () => machine.hostNetwork,
    listeners: async () => machine.listeners,
    filters: async () => machine.filters,
    async raise(network, { guests, wires, onPart }) {
      for (const part of parts) await onPart?.(part)
      machine.networks.set(network.id, { network, guests, wires, findings: [] })
    },
    async rewire({ id }, wires) {
      const there = machine.networks.get(id)
      if (there) machine.networks.set(id, { ...there, wires })
    },
    async lower({ id }, { onUplinkBack } = {}) {
      await onUplinkBack?.()
      machine.networks.delete(id)
    },
    async inspect({ id }) {
      const there = machine.networks.get(id)
      if (!there)
        return { findings: [{ thing: 'bridge', detail: 'Its bridge is gone.' }], dnsmasqPid: undefined }
      return { findings: there.findings, dnsmasqPid: simulatedPid, uplinks: ['eth0'] }
    },
    leases: async () => [],
    async forget() {},
    present: async () => [...machine.networks.keys()],
  }
}
