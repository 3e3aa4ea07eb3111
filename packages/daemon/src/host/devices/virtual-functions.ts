/**
 * Virtual functions (VFs) of the NICs of this host: whose they are, what their physical functions (PFs) set them to, and that set anew.
 *
 * `ip link show` tells of all VFs of a PF; what its driver does not tell is absent. Facts: ip-link(8), iproute2's ip/ipaddress.c.
 */
import { readdir, readFile, readlink, realpath } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { z } from 'zod'
import type { HostPf, HostVf } from '../../model/network/vf-pool.ts'
import { type VfChange, type VfState, vfChanges } from '../../model/network/vf-settings.ts'
import { askIp, runNetworkCommand } from '../networks/network-commands.ts'

const devicesFolder = '/sys/bus/pci/devices'
const linksFolder = '/sys/class/net'
const upFlag = 1

/** The PF of a VF, and which of its VFs it is. */
export interface VfPlace {
  readonly pf: string
  readonly index: number
}

const vfInfo = z.object({
  vf: z.number(),
  address: z.string().optional(),
  vlan: z.number().optional(),
  qos: z.number().optional(),
  vlan_list: z.array(z.object({ vlan: z.number().optional(), qos: z.number().optional() })).optional(),
  rate: z.object({ max_tx: z.number().default(0), min_tx: z.number().default(0) }).optional(),
  spoofchk: z.boolean().optional(),
  link_state: z.enum(['auto', 'enable', 'disable']).optional(),
  trust: z.boolean().optional(),
})

const linkWithVfs = z.array(z.object({ vfinfo_list: z.array(vfInfo).default([]) }))

/** Where a VF is; undefined when the host has no such device, or its PF is no interface of this network namespace. */
export async function placeOfVf(address: string): Promise<VfPlace | undefined> {
  const parent = join(devicesFolder, address, 'physfn')
  const names = (await readdir(parent).catch(() => [])).filter((name) => name.startsWith('virtfn'))
  const [pf] = await readdir(join(parent, 'net')).catch(() => [])
  for (const name of names) {
    const target = await readlink(join(parent, name)).catch(() => '')
    if (pf !== undefined && basename(target) === address) return { pf, index: Number(name.slice(6)) }
  }
  return undefined
}

/** What a VF is set to now. Throws `host-failed`. */
export async function readVf({ pf, index }: VfPlace): Promise<VfState> {
  const [link] = linkWithVfs.parse(await askIp(['link', 'show', 'dev', pf]))
  const found = link?.vfinfo_list.find(({ vf }) => vf === index)
  if (found === undefined)
    throw new KvasirError(
      'host-failed',
      `The driver of ${pf} tells nothing of its virtual function ${index}.`,
    )
  const [listed] = found.vlan_list ?? []
  return {
    mac: found.address,
    vlan: found.vlan ?? listed?.vlan ?? 0,
    vlanPriority: found.qos ?? listed?.qos ?? 0,
    spoofCheck: found.spoofchk,
    trust: found.trust,
    minRateMbits: found.rate?.min_tx,
    maxRateMbits: found.rate?.max_tx,
    link: found.link_state,
  }
}

/** Sets a VF to what is said, each setting by itself. `host-failed` with the one that the driver refuses, and its word for it. */
export async function setVf(place: VfPlace, wanted: VfState, otherwise: string): Promise<void> {
  for (const change of vfChanges(await readVf(place), wanted)) await changeVf(place, change, otherwise)
}

/** Sets one thing of a VF. `host-failed` with the driver's word for a refusal. */
async function changeVf({ pf, index }: VfPlace, { what, words }: VfChange, otherwise: string): Promise<void> {
  await runNetworkCommand(['ip', 'link', 'set', 'dev', pf, 'vf', `${index}`, ...words], {
    purpose: `${what} of virtual function ${index} of ${pf} cannot be set (${words.join(' ')}), and ${otherwise}`,
  })
}

/** The PF that an interface of the host is; undefined when there is none, or it has no SR-IOV. */
export async function readPf(pf: string): Promise<HostPf | undefined> {
  const folder = join(linksFolder, pf)
  const device = await realpath(join(folder, 'device')).catch(() => undefined)
  if (device === undefined) return undefined
  const totalVfs = await numberIn(join(device, 'sriov_totalvfs'))
  if (totalVfs === undefined || totalVfs === 0) return undefined
  const names = (await readdir(device)).filter((name) => /^virtfn\d+$/.test(name))
  const numbered = names.toSorted((a, b) => Number(a.slice(6)) - Number(b.slice(6)))
  const vfs = await Promise.all(numbered.map((name) => readVfDevice(join(device, name))))
  return {
    pf,
    address: basename(device),
    isUp: await isLinkUp(folder),
    totalVfs,
    vfs: vfs.flatMap((vf) => vf ?? []),
  }
}

/** All interfaces of the host with SR-IOV. */
export async function readPfs(): Promise<readonly HostPf[]> {
  const links = await readdir(linksFolder).catch(() => [])
  return (await Promise.all(links.map(readPf))).flatMap((found) => found ?? [])
}

async function readVfDevice(path: string): Promise<HostVf | undefined> {
  const folder = await realpath(path).catch(() => undefined)
  if (folder === undefined) return undefined
  const driver = await readlink(join(folder, 'driver')).catch(() => undefined)
  const links = await readdir(join(folder, 'net')).catch(() => [])
  const interfaces = await Promise.all(
    links.map(async (link) => ({ link, isUp: await isLinkUp(join(folder, 'net', link)) })),
  )
  return {
    address: basename(folder),
    interfaces,
    ...(driver === undefined ? {} : { driver: basename(driver) }),
  }
}

async function isLinkUp(folder: string): Promise<boolean> {
  return (((await numberIn(join(folder, 'flags'))) ?? 0) & upFlag) !== 0
}

async function numberIn(path: string): Promise<number | undefined> {
  const text = (await readFile(path, 'utf8').catch(() => '')).trim()
  return text === '' || Number.isNaN(Number(text)) ? undefined : Number(text)
}

/** Where a virtual function is; `host-failed` for what is none. */
export async function placeOf(address: string): Promise<VfPlace> {
  const place = await placeOfVf(address)
  if (place) return place
  throw new KvasirError(
    'host-failed',
    `The device ${address} is no virtual function of an interface of this host, so it cannot be a NIC.`,
  )
}

/** What a driver took, it takes back; where it does not (its link is down now), the device goes back all the same. */
export async function putBack(address: string, before: VfState): Promise<void> {
  const place = await placeOfVf(address)
  if (!place) return
  for (const change of vfChanges(await readVf(place), before))
    await changeVf(place, change, '').catch(() => {})
}
