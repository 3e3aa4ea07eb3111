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
  const names = Object.keys(families) as (keyof typeof families)[] // The keys of a closed table.
  return (domain, { nics }) => {
    for (const nic of nics)
      for (const name of names)
        families[name].inc({ domain, source_bridge: nic.bridge, target_device: nic.tap }, nic[name])
  }
}
