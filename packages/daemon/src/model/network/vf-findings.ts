/** What is amiss with the physical functions (PFs) of a network of mode sriov, and with the virtual ones (VFs) that VMs have. */
import type { NetworkFinding } from '@kvasir/contract'
import type { HostPf } from './vf-pool.ts'
import type { Wire } from './wires.ts'

/** A PF as it is now, and how many VFs were made of it. */
export interface SeenPool extends Pick<HostPf, 'pf' | 'isUp'> {
  /** Absent when the host has no such PF. */
  readonly address: string | undefined
  readonly vfs: readonly unknown[]
  /** Absent where they were there before. */
  readonly made: number | undefined
}

/** What is amiss with the PFs themselves. */
export function poolFindings(pools: readonly SeenPool[]): NetworkFinding[] {
  return pools.flatMap(({ pf, address, isUp, vfs, made }) => {
    const finding = (detail: string) => [{ thing: 'sriov' as const, detail }]
    if (address === undefined) return finding(`The host has no interface ${pf} of a device with SR-IOV.`)
    if (!isUp) return finding(`${pf} is down.`)
    if (made !== undefined && vfs.length !== made)
      return finding(`${pf} has ${vfs.length} virtual functions, and ${made} were made.`)
    return vfs.length === 0 ? finding(`${pf} has no virtual functions.`) : []
  })
}

/** A NIC whose VF is not on the host any more, while its guest has it yet. */
export function goneWords({ nic, vm }: Pick<Wire, 'nic' | 'vm'>, address: string): string {
  return `The virtual function ${address}, which NIC ${nic} of VM ${vm} is, is gone: somebody has taken it from the host. The VM gets another when it is started next.`
}
