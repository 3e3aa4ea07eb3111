/** The NICs of a running VM on networks: their way to the bridge, and the addresses that the network has given them. */
import type { NicSpec, VmStatus } from '@kvasir/contract'
import { tapName } from '../../model/network/link-names.ts'
import { macOf } from '../../model/network/mac-holders.ts'
import { nicMtus } from '../../model/network/nic-mtu.ts'
import { vlansOf } from '../../model/network/port-vlans.ts'
import { dropsOf } from '../../model/network/rule-counts.ts'
import { nicsInUse } from '../../model/network/wires.ts'
import { queuesOf } from '../../model/qemu/nic.ts'
import type { EmulatorStatistics } from '../../ports/emulators.ts'
import type { NetworkRecord, VmRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'

/** What is known of them now. Nothing for a VM without any. */
export function nicStatus(
  record: VmRecord,
  statistics: EmulatorStatistics | undefined,
  { ports, networks }: Context,
): Pick<VmStatus, 'nics'> {
  const { id, run } = record
  const spec = run?.bootedSpec
  const nics =
    spec &&
    nicsInUse(record).flatMap((nic) => {
      if (!spec.nics.some(({ name }) => name === nic.name)) return []
      const network = nic.network === undefined ? undefined : ports.store.networks.findByName(nic.network)
      if (!network || run?.bootedHardware?.vfs?.[nic.name]) return []
      const mac = macOf(id, nic)
      const { nic: _name, ...counters } = statistics?.nics.find((one) => one.nic === nic.name) ?? {}
      const { leases, neighbours, ruleCounts } = networks.sight(network)
      const tap = tapName(id, nic.name)
      const ruleDrops = dropsOf(tap, ruleCounts)
      const known = [...leases, ...neighbours].filter((one) => one.mac === mac)
      return [
        {
          nic: nic.name,
          network: network.name,
          ...(network.macvtap
            ? { link: network.bridge, macvtapMode: network.macvtap }
            : { bridge: network.bridge }),
          tap,
          ...vlanWords(network, nic),
          uplinks: [...networks.seen(network).uplinks],
          queues: queuesOf(spec, nic),
          mtu: nicMtus(network, nic).guestMtu,
          offloads: nic.offloads ?? 'on',
          vhost: run?.emulator.plan.ids.nics[nic.name]?.vhost === true,
          addresses: [...new Set(known.map(({ address }) => address))],
          ...('sentBytes' in counters ? { counters } : {}),
          ...(ruleDrops ? { ruleDrops } : {}),
        },
      ]
    })
  return nics && nics.length > 0 ? { nics } : {}
}

/** Those in user mode: by what each is served. */
export function userNicStatus({ run }: VmRecord): Pick<VmStatus, 'userNics'> {
  const nics = Object.entries(run?.emulator.plan.ids.nics ?? {}).flatMap(([nic, { user }]) =>
    user === undefined ? [] : [{ nic, server: user.kind, reason: user.reason }],
  )
  return nics.length > 0 ? { userNics: nics } : {}
}

/** Those of them that are virtual functions of the host's NICs. */
export function vfStatus({ run }: VmRecord): Pick<VmStatus, 'vfs'> {
  const given = run?.bootedHardware?.vfs ?? {}
  const vfs = run?.bootedSpec.nics.flatMap(({ name: nic, network }) => {
    const vf = given[nic]
    return vf === undefined || network === undefined ? [] : [{ nic, network, ...vf }]
  })
  return vfs && vfs.length > 0 ? { vfs } : {}
}

function vlanWords(network: NetworkRecord, nic: NicSpec) {
  const { vlan, trunk } = vlansOf(network, nic) ?? {}
  return { ...(vlan === undefined ? {} : { vlan }), ...(trunk === undefined ? {} : { trunk: [...trunk] }) }
}
