/** A network of mode sriov in words: its physical functions, their virtual functions, and who has them. */
import type { Network } from '@kvasir/contract'

type Sriov = NonNullable<Network['sriov']>
type Pool = Sriov['pools'][number]

/** What the virtual functions of a network are set to, and a line for each of its physical functions and each virtual one. */
export function sriovLines({ vlan, spoofCheck, trust, pools, pfs }: Sriov): {
  readonly Settings: string
  readonly 'Virtual functions': readonly string[]
} {
  const settings = [
    vlan === undefined ? 'no VLAN' : `VLAN ${vlan}`,
    `spoof check ${spoofCheck ? 'on' : 'off'}`,
    `trust ${trust ? 'on' : 'off'}`,
  ]
  const unseen = pfs.filter((pf) => !pools.some((pool) => pool.pf === pf)).map((pf) => `${pf}: not looked at`)
  return { Settings: settings.join(', '), 'Virtual functions': [...pools.flatMap(poolLines), ...unseen] }
}

function poolLines({ pf, address, totalVfs, made, vfs }: Pool): readonly string[] {
  if (address === undefined) return [`${pf}: the host has no such device`]
  const whose = made === undefined ? 'made by others' : 'made for networks'
  const head = `${pf} (${address}): ${vfs.length} of at most ${totalVfs}${vfs.length > 0 ? `, ${whose}` : ''}`
  return [head, ...vfs.map((vf) => `  ${vf.address}  ${holderOf(vf)}`)]
}

function holderOf({ vm, driver, interfaces }: Pool['vfs'][number]): string {
  if (vm !== undefined) return `VM ${vm}`
  if (interfaces.length > 0) return `${interfaces.join(', ')} of the host (${driver})`
  return driver === undefined ? 'free' : `free (${driver})`
}
