/**
 * Networks of mode sriov on this host: the virtual functions of their physical functions, and what those of running VMs are set to.
 *
 * A VM's own are set up when they are lent, and put back when they are given back (host/devices/device-desk.ts); from then on they are kept as
 * the network and the NIC say, so what changes of these reaches the guest while it runs, and what others change is put right.
 */
import { mkdir, rm } from 'node:fs/promises'
import { KvasirError, type NetworkFinding } from '@kvasir/contract'
import type { NetworkSpec } from '../../model/network/network-record.ts'
import { goneWords, poolFindings } from '../../model/network/vf-findings.ts'
import { settingsOf, type VfState } from '../../model/network/vf-settings.ts'
import type { Wire } from '../../model/network/wires.ts'
import type { NetworkSight, Networks, RaiseOptions } from '../../ports/networks.ts'
import type { VfPools } from './vf-pools.ts'

/** Who has lent a virtual function to a VM. */
export interface VfLender {
  /** What of a lent one is not set so, in words; nothing for one that the VM does not have. `undefined`: the device is gone. */
  vfAmiss(vmId: string, address: string, wanted: VfState): Promise<readonly string[] | undefined>
  /** Sets a lent one; one that the VM does not have is left alone. Throws `host-failed`. */
  setLentVf(vmId: string, address: string, wanted: VfState): Promise<void>
}

export interface SriovTools {
  readonly pools: VfPools
  readonly lender: VfLender
  readonly folderOf: (id: string) => string
  readonly inTurn: <T>(work: () => Promise<T>) => Promise<T>
}

/** The networks of this host, with those of mode sriov. */
export function withSriov(networks: Networks, tools: SriovTools): Networks {
  const { inTurn, pools, folderOf } = tools
  const isSriov = ({ mode }: NetworkSpec) => mode === 'sriov'
  return {
    ...networks,
    raise: (network, options) =>
      isSriov(network) ? inTurn(() => raiseSriov(network, options, tools)) : networks.raise(network, options),
    // What a VM that starts has is set when it is lent.
    rewire: async (network, wires) => {
      if (!isSriov(network)) await networks.rewire(network, wires)
    },
    lower: (network, options) =>
      isSriov(network)
        ? inTurn(async () => {
            await pools.release(network.id)
            await rm(folderOf(network.id), { recursive: true, force: true })
          })
        : networks.lower(network, options),
    inspect: (network, options) =>
      isSriov(network) ? inspectSriov(network, options, tools) : networks.inspect(network, options),
  }
}

/** Makes what is missing of one. */
async function raiseSriov(
  network: NetworkSpec,
  { wires, onPart = async () => {} }: RaiseOptions,
  { pools, lender, folderOf }: SriovTools,
): Promise<void> {
  const folder = folderOf(network.id)
  await using undo = new AsyncDisposableStack()
  if ((await mkdir(folder, { recursive: true, mode: 0o700 })) !== undefined)
    undo.defer(async () => {
      await pools.release(network.id)
      await rm(folder, { recursive: true, force: true })
    })
  await pools.need(network)
  await onPart('bridge')
  for (const { vf, wanted, wire } of lentWires(network, wires)) {
    if ((await lender.vfAmiss(vf.vmId, vf.address, wanted)) === undefined)
      throw new KvasirError('host-failed', goneWords(wire, vf.address))
    await lender.setLentVf(vf.vmId, vf.address, wanted)
  }
  undo.move()
}

/** What is amiss with one. */
async function inspectSriov(
  network: NetworkSpec,
  { deep, wires }: { readonly deep: boolean; readonly wires: readonly Wire[] },
  { pools, lender }: SriovTools,
): Promise<NetworkSight> {
  const sights = await pools.look(network)
  const findings: NetworkFinding[] = poolFindings(sights)
  const there = new Set(sights.flatMap(({ vfs }) => vfs.map(({ address }) => address)))
  for (const { vf, wanted, wire } of lentWires(network, wires)) {
    if (!deep && there.has(vf.address)) continue
    const amiss = await lender.vfAmiss(vf.vmId, vf.address, wanted)
    if (amiss === undefined) findings.push({ thing: 'sriov', detail: goneWords(wire, vf.address) })
    for (const what of amiss ?? [])
      findings.push({
        thing: 'sriov',
        detail: `Somebody has changed ${what} of ${vf.address}, which NIC ${wire.nic} of VM ${wire.vm} is.`,
      })
  }
  return { findings, dnsmasqPid: undefined, pools: sights }
}

function lentWires({ sriov }: NetworkSpec, wires: readonly Wire[]) {
  return wires.flatMap((wire) => {
    const { vf, mac, limits, vlan } = wire
    if (vf === undefined || sriov === undefined) return []
    return [{ vf, wire, wanted: settingsOf(sriov, { mac, limits, vlan, link: vf.link }) }]
  })
}
