/**
 * What a virtual function (VF) of a NIC of the host is set to by its physical function (PF), and what has to be set to make it so.
 *
 * Facts: ip-link(8), `vf NUM`; IFLA_VF_* of include/uapi/linux/if_link.h. Rates are whole Mbit/s there, and 0 is none.
 */
import type { NicSpec } from '@kvasir/contract'
import type { NetworkSriov } from './network-record.ts'

/** What a VF is to be set to. */
export interface VfSettings {
  readonly mac: string
  /** 0: none. */
  readonly vlan: number
  readonly vlanPriority: number
  readonly spoofCheck: boolean
  readonly trust: boolean
  readonly minRateMbits: number
  readonly maxRateMbits: number
  readonly link: 'auto' | 'enable' | 'disable'
}

/** What a VF is set to; what its driver does not say is absent. */
export type VfState = { readonly [Key in keyof VfSettings]?: VfSettings[Key] | undefined }

/** One setting that is another, and the words of ip(8) after `vf NUM` that make it so. */
export interface VfChange {
  readonly what: string
  readonly words: readonly string[]
}

/** What a device does of itself: nothing has to be set to have it where the driver does not say. */
const unset: VfState = {
  vlan: 0,
  vlanPriority: 0,
  trust: false,
  minRateMbits: 0,
  maxRateMbits: 0,
  link: 'auto',
}

/** What the VF of a NIC is set to. */
export function settingsOf(
  { vlan: usual = 0, spoofCheck, trust, minSend }: NetworkSriov,
  { mac, limits, link, vlan = usual }: { readonly mac: string } & Pick<NicSpec, 'limits' | 'link' | 'vlan'>,
): VfSettings {
  return {
    mac,
    vlan,
    vlanPriority: 0,
    spoofCheck,
    trust,
    minRateMbits: mbitsOf(minSend),
    maxRateMbits: mbitsOf(limits?.send),
    link: link === 'down' ? 'disable' : 'auto',
  }
}

/** What to set, in order; nothing where the VF is so already. */
export function vfChanges(now: VfState, wanted: VfState): readonly VfChange[] {
  const differs = (key: keyof VfSettings) =>
    wanted[key] !== undefined && wanted[key] !== (now[key] ?? unset[key])
  const changes: VfChange[] = []
  const {
    mac,
    vlan = 0,
    vlanPriority = 0,
    spoofCheck,
    trust,
    minRateMbits = 0,
    maxRateMbits = 0,
    link,
  } = wanted
  if (mac !== undefined && differs('mac')) changes.push({ what: 'the MAC address', words: ['mac', mac] })
  if (differs('vlan') || differs('vlanPriority'))
    changes.push({
      what: 'the VLAN',
      words: ['vlan', `${vlan}`, ...(vlanPriority === 0 ? [] : ['qos', `${vlanPriority}`])],
    })
  if (differs('spoofCheck'))
    changes.push({ what: 'the spoof check', words: ['spoofchk', spoofCheck ? 'on' : 'off'] })
  if (differs('trust')) changes.push({ what: 'the trust', words: ['trust', trust ? 'on' : 'off'] })
  if (differs('minRateMbits') || differs('maxRateMbits'))
    changes.push({
      what: 'the rate',
      words: ['max_tx_rate', `${maxRateMbits}`, 'min_tx_rate', `${minRateMbits}`],
    })
  if (link !== undefined && differs('link')) changes.push({ what: 'the link', words: ['state', link] })
  return changes
}

/** Whole Mbit/s that are no more than was said, and 1 at least. */
function mbitsOf(bytesPerSecond: number | undefined): number {
  return bytesPerSecond === undefined ? 0 : Math.max(1, Math.floor((bytesPerSecond * 8) / 1_000_000))
}
