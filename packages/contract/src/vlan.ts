/**
 * VLANs of a port (IEEE 802.1Q), in two fields wherever a port is described: `vlan`, the one in which its frames have no tag, and `trunk`,
 * those in which they have. `vlan` alone is an access port, `trunk` alone takes tagged frames and no others, and both are a trunk with a
 * native VLAN. 0 is no VLAN, 4095 is kept by the standard.
 */
import { z } from 'zod'

const isNone = 'is not a VLAN: 1 to 4094'
const highest = 4094
/** What of ranges a trunk may name. */
const longestTrunk = 128

export const vlanId = z.int(isNone).min(1, isNone).max(highest, isNone).meta({
  description: 'The VLAN in which its frames have no tag: of an access port, or the native one of a trunk.',
})

const vlanRange = z
  .string()
  .regex(/^[1-9][0-9]{0,3}-[1-9][0-9]{0,3}$/, 'is no range of VLANs, such as 20-30')
  .refine((text) => {
    const [first = 0, last = 0] = text.split('-').map(Number)
    return first < last && last <= highest
  }, `is no range of VLANs, which go from 1 to ${highest}`)

/** The VLANs of a trunk. */
export const vlanTrunk = z
  .array(z.union([vlanId.meta({ description: 'A VLAN.' }), vlanRange]))
  .min(1)
  .max(longestTrunk)
  .meta({ description: 'The VLANs in which its frames have tags: numbers, and ranges such as 20-30.' })

export type VlanTrunk = z.output<typeof vlanTrunk>

/** Whether the VLAN without tags is one of those with tags too, which no port can have. */
export function isNativeInTrunk(vlan: number | undefined, trunk: VlanTrunk | undefined): boolean {
  return vlan !== undefined && (trunk ?? []).some((one) => isInRange(vlan, one))
}

function isInRange(vlan: number, range: number | string): boolean {
  const [first = 0, last = first] = String(range).split('-').map(Number)
  return vlan >= first && vlan <= last
}
