/** The metrics of NICs on networks, in the guest's words, as the libvirt exporters have them. */
import { Counter, type Registry } from 'prom-client'
import type { RunSample } from '../services/host/collect-samples.ts'

/** Adds the counters of a VM's NICs; what they answer sets them for one VM. */
export function vmNicFamilies(registry: Registry): (domain: string, run: RunSample) => void {
  const labelNames = ['domain', 'source_bridge', 'target_device'] as const
  const counter = (name: string, help: string) =>
    new Counter({
      name: `libvirt_domain_interface_stats_${name}_total`,
      help,
      labelNames,
      registers: [registry],
    })
  const families = {
    receivedBytes: counter('receive_bytes', 'Bytes that the guest received.'),
    receivedPackets: counter('receive_packets', 'Packets that the guest received.'),
    receiveDrops: counter('receive_drops', 'Packets that the guest did not take in time.'),
    sentBytes: counter('transmit_bytes', 'Bytes that the guest sent.'),
    sentPackets: counter('transmit_packets', 'Packets that the guest sent.'),
    sendDrops: counter('transmit_drops', 'Packets of the guest that the host did not take.'),
  } as const
  const ruleDrops = new Counter({
    name: 'kvasir_vm_nic_rule_drops_total',
    help: 'Packets that the rules of its network dropped: of what it sent by its guard or on the way to other isolated NICs, both ways by its limits.',
    labelNames: ['domain', 'target_device', 'rule'],
    registers: [registry],
  })
  const names = Object.keys(families) as (keyof typeof families)[] // The keys of a closed table.
  return (domain, { nics }) => {
    for (const nic of nics) {
      for (const name of names)
        families[name].inc({ domain, source_bridge: nic.bridge, target_device: nic.tap }, nic[name])
      for (const [rule, packets] of Object.entries(nic.ruleDrops ?? {}))
        ruleDrops.inc({ domain, target_device: nic.tap, rule }, packets)
    }
  }
}
