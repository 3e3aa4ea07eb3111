/** The table of `kvasir network`. */
import type { Verbs } from '../command.ts'

const network = { name: 'NETWORK', completes: 'network' } as const
const fromFile = {
  summary: 'The fields that are to be others, in YAML or JSON; - is stdin.',
  value: 'FILE',
  short: 'f',
  completes: 'file',
} as const
const actions = () => import('../network/networks.ts')

export const networkVerbs: Verbs = {
  list: { summary: 'All networks.', load: async () => (await actions()).listNetworks },
  show: { summary: 'One network.', arguments: [network], load: async () => (await actions()).showNetwork },
  create: {
    summary: 'Create a network and start it.',
    examples: [
      'network create lan',
      'network create lan --subnet 192.168.150.0/24 --dhcp 192.168.150.100-192.168.150.200',
      'network create dual --ipv6 fd12:3456:789a:1::/64',
      'network create dmz --mode routed --subnet 203.0.113.0/28',
      'network create lab --mode isolated --no-autostart',
      'network create office --mode bridge --bridge br0',
      'network create fast --mode sriov --pf eth0,eth1 --vfs 8 --vlan 42',
      'network create desk --mode macvtap --link eth0',
      'network create own --mode macvtap --link eth1 --macvtap-mode passthru',
      'network create office --mode bridge --uplink eth1 --vlan 10',
      "network create lan --record 'db A 192.168.150.10' --record 'www CNAME web1' --record '_ldap._tcp SRV 0 5 389 db'",
      'network create lan --ipv6 fd12::/64 --reserve mac=52:54:00:12:34:56,ipv6=fd12::9',
      'network create lan --reserve mac=52:54:00:12:34:56,address=192.168.150.10,name=db1',
    ],
    arguments: [{ name: 'NETWORK' }],
    flags: {
      mode: {
        summary:
          'How far guests get: out under the address of the host, routed, not at all; on a bridge or a link of the host; by virtual functions of its NICs.',
        value: 'MODE',
        completes: ['nat', 'routed', 'isolated', 'bridge', 'macvtap', 'sriov'],
      },
      subnet: { summary: 'The IPv4 subnet; a free one unless given.', value: 'CIDR' },
      gateway: { summary: 'The address of the host in it; the first unless given.', value: 'ADDRESS' },
      dhcp: {
        summary: 'The addresses that guests are given; all that are free unless given.',
        value: 'FIRST-LAST',
      },
      'no-dhcp': { summary: 'Guests are given no addresses.' },
      'no-ipv4': { summary: 'Only IPv6.' },
      ipv6: { summary: 'The IPv6 subnet, a /64.', value: 'CIDR' },
      domain: { summary: 'The domain of the guests; NETWORK.internal unless given.', value: 'DOMAIN' },
      bridge: { summary: 'What the bridge is called; of mode bridge, the one that is there.', value: 'NAME' },
      pf: {
        summary: 'Of mode sriov, the interfaces whose virtual functions guests get.',
        value: 'LINK[,LINK]',
      },
      vfs: {
        summary: 'How many virtual functions each has; 8 are made where there are none.',
        value: 'COUNT',
      },
      trust: { summary: 'Of mode sriov, guests may ask for promiscuous mode or another MAC address.' },
      'no-spoof-check': { summary: 'Of mode sriov, guests may send under any MAC address.' },
      uplink: {
        summary: 'Of mode bridge: the link of the host around which a bridge is made.',
        value: 'LINK',
      },
      force: {
        summary:
          'Take the uplink even if it has the default route of the host, or another program looks after it; for passthru, a link by which the host is reached.',
      },
      'vlan-aware': { summary: 'Of mode bridge: NICs may have VLANs.' },
      vlan: {
        summary:
          'The VLAN of NICs that name none; VLAN-aware with it. Of mode sriov, the VLAN that guests are in.',
        value: 'VLAN',
      },
      trunk: { summary: 'The VLANs with tags of NICs that name none, such as 10+20-30.', value: 'VLANS' },
      link: { summary: 'Of mode macvtap, the link of the host that guests are put on.', value: 'LINK' },
      'macvtap-mode': {
        summary: 'Whether guests on the link reach each other; passthru: one has it for itself.',
        value: 'MODE',
        completes: ['bridge', 'vepa', 'private', 'passthru'],
      },
      mtu: { summary: 'The largest packet; 1500 unless given, or what the link has.', value: 'BYTES' },
      reserve: {
        summary: 'Addresses and a name that a NIC always gets, by DHCP and DHCPv6.',
        value: 'mac=MAC[,address=IPV4][,ipv6=IPV6][,name=NAME]',
        multiple: true,
      },
      record: {
        summary:
          'What its DNS says besides the names of guests, as in a zone file; NAME is in its domain unless it ends with a dot.',
        value: "'NAME TYPE VALUE'",
        multiple: true,
      },
      'no-autostart': { summary: 'Do not start it when the host boots.' },
    },
    load: async () => (await actions()).createNetwork,
  },
  edit: {
    summary: 'Change a network in $EDITOR, or to what a file says; the plan is shown first.',
    examples: ['network edit lan', 'network edit lan -f lan.yaml --restart --yes'],
    arguments: [network],
    flags: {
      file: fromFile,
      restart: { summary: 'Stop and start it for what needs that.' },
      yes: { summary: 'Do not ask.', short: 'y' },
    },
    load: async () => (await import('../network/edit.ts')).editNetwork,
  },
  plan: {
    summary: 'What a change would do, field by field.',
    examples: ['network plan lan -f lan.yaml'],
    arguments: [network],
    flags: { file: fromFile },
    load: async () => (await import('../network/edit.ts')).planNetwork,
  },
  start: {
    summary: 'Start a network.',
    arguments: [network],
    load: async () => (await actions()).startNetwork,
  },
  stop: {
    summary: 'Stop a network; all that was made for it on the host goes.',
    arguments: [network],
    load: async () => (await actions()).stopNetwork,
  },
  autostart: {
    summary: 'Say whether a network is started when the host boots.',
    arguments: [network, { name: 'ON', completes: ['on', 'off'] }],
    load: async () => (await actions()).setAutostart,
  },
  leases: {
    summary: 'The addresses that guests were given.',
    arguments: [network],
    load: async () => (await actions()).listLeases,
  },
  delete: {
    summary: 'Stop a network and forget it, with its leases.',
    arguments: [network],
    flags: { yes: { summary: 'Do not ask.', short: 'y' } },
    load: async () => (await actions()).deleteNetwork,
  },
}
