/** From the flags of `kvasir network create` to the network that is asked for. */
import type { NewNetworkInput } from '@kvasir/contract'
import type { Context } from '../context.ts'
import { UsageError } from '../usage-error.ts'
import { parseTrunk } from '../vm/nic-words.ts'

const modes = ['nat', 'routed', 'isolated', 'bridge', 'macvtap', 'sriov'] as const
const macvtapModes = ['bridge', 'vepa', 'private', 'passthru'] as const

/** The network that the flags ask for. */
export function newNetworkOf(context: Context): NewNetworkInput {
  const mode = context.choice('mode', modes)
  const [ipv6, domain, bridge, mtu] = [
    context.value('ipv6'),
    context.value('domain'),
    context.value('bridge'),
    context.value('mtu'),
  ]
  const [uplink, vlan, trunk] = [context.value('uplink'), context.value('vlan'), context.value('trunk')]
  const [link, macvtapMode] = [context.value('link'), context.choice('macvtap-mode', macvtapModes)]
  const isSriov = context.value('pf') !== undefined
  const hasVlans = context.has('vlan-aware') || (!isSriov && (vlan ?? trunk) !== undefined)
  return {
    name: context.argument('NETWORK'),
    ...(mode === undefined ? {} : { mode }),
    ipv4: ipv4Of(context),
    ...(ipv6 === undefined ? {} : { ipv6: { subnet: ipv6, dhcp: !context.has('no-dhcp') } }),
    ...(domain === undefined ? {} : { domain }),
    ...(bridge === undefined ? {} : { bridge }),
    ...sriovOf(context),
    ...(uplink === undefined ? {} : { uplink }),
    ...(link === undefined ? {} : { link }),
    ...(macvtapMode === undefined ? {} : { macvtapMode }),
    ...(context.has('force') ? { force: true } : {}),
    ...(hasVlans ? { vlanAware: true } : {}),
    ...(vlan === undefined || isSriov ? {} : { vlan: Number(vlan) }),
    ...(trunk === undefined ? {} : { trunk: parseTrunk(trunk) }),
    ...(mtu === undefined ? {} : { mtu: Number(mtu) }),
    reservations: context.values('reserve').map(reservationOf),
    records: context.values('record').map(recordOf),
    ...(context.has('no-autostart') ? { autostart: false } : {}),
  }
}

function ipv4Of(context: Context): NonNullable<NewNetworkInput['ipv4']> {
  const [subnet, gateway, dhcp] = [context.value('subnet'), context.value('gateway'), context.value('dhcp')]
  if (context.has('no-ipv4')) {
    if ([subnet, gateway, dhcp].some((value) => value !== undefined))
      throw new UsageError('--no-ipv4 does not go with flags of IPv4.', 'Leave one of them out.')
    return false
  }
  return {
    ...(subnet === undefined ? {} : { subnet }),
    ...(gateway === undefined ? {} : { gateway }),
    ...(context.has('no-dhcp') ? { dhcp: false } : dhcp === undefined ? {} : { dhcp: rangeOf(dhcp) }),
  }
}

/** The flags of mode sriov. */
function sriovOf(context: Context): Pick<NewNetworkInput, 'sriov'> {
  const [pfs, vfs, vlan] = [context.value('pf'), context.value('vfs'), context.value('vlan')]
  const [spoofCheck, trust] = [!context.has('no-spoof-check'), context.has('trust')]
  if (pfs === undefined) {
    if (vfs !== undefined || trust || !spoofCheck)
      throw new UsageError('The physical functions are missing.', 'Write --pf eth0, or --pf eth0,eth1.')
    return {}
  }
  const sriov = { pfs: pfs.split(',').map((link) => link.trim()), spoofCheck, trust }
  return {
    sriov: {
      ...sriov,
      ...(vfs === undefined ? {} : { vfs: Number(vfs) }),
      ...(vlan === undefined ? {} : { vlan: Number(vlan) }),
    },
  }
}

function rangeOf(text: string): { first: string; last: string } {
  const [first, last, ...rest] = text.split('-').map((word) => word.trim())
  if (!first || !last || rest.length > 0)
    throw new UsageError(
      `--dhcp cannot be ${JSON.stringify(text)}.`,
      'Write --dhcp 192.168.150.100-192.168.150.200, for example.',
    )
  return { first, last }
}

function reservationOf(text: string): NonNullable<NewNetworkInput['reservations']>[number] {
  const words = new Map(
    text.split(',').map((word) => {
      const at = word.indexOf('=')
      return [at === -1 ? word : word.slice(0, at), at === -1 ? '' : word.slice(at + 1)] as const
    }),
  )
  const unknown = [...words.keys()].find((key) => !['mac', 'address', 'ipv6', 'name'].includes(key))
  const mac = words.get('mac')
  if (unknown !== undefined || mac === undefined)
    throw new UsageError(
      `--reserve cannot be ${JSON.stringify(text)}.`,
      'Write --reserve mac=52:54:00:12:34:56,address=192.168.150.10,name=db1, for example.',
    )
  const [address, ipv6, name] = [words.get('address'), words.get('ipv6'), words.get('name')]
  return {
    mac,
    ...(address === undefined ? {} : { address }),
    ...(ipv6 === undefined ? {} : { ipv6 }),
    ...(name === undefined ? {} : { name }),
  }
}

const recordTypes = ['A', 'AAAA', 'CNAME', 'TXT', 'SRV'] as const

/** As in a zone file: the name, the type, the rest. */
function recordOf(text: string): NonNullable<NewNetworkInput['records']>[number] {
  const [, name = '', word = '', value = ''] = /^\s*(\S+)\s+(\S+)\s+(.*\S)\s*$/.exec(text) ?? []
  const type = recordTypes.find((one) => one === word.toUpperCase())
  if (type === undefined)
    throw new UsageError(
      `--record cannot be ${JSON.stringify(text)}.`,
      "Write --record 'db A 192.168.150.10', or another type: AAAA, CNAME, TXT, SRV.",
    )
  return { name, type, value }
}
