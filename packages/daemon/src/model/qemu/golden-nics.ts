/** The starts that are about NICs, as golden-cases.ts has the others. */
import { type GoldenCase, goldenCase, noDevices, qemu10, root } from './golden-case.ts'

const networks = { lan: { bridge: 'br-lan', mtu: 1500 }, big: { bridge: 'br-big', mtu: 9000 } }

/** NICs in user mode and on networks, of every model. */
export const nicCases: readonly GoldenCase[] = [
  goldenCase('nic-forwards', {
    nics: [
      { name: 'lan', mac: '52:54:00:aa:bb:cc', forwards: [{ hostPort: 8080, guestPort: 80 }] },
      { name: 'dmz', forwards: [{ protocol: 'udp', hostAddress: '::1', hostPort: 53, guestPort: 53 }] },
    ],
    devices: noDevices,
  }),
  goldenCase(
    'nic-network',
    {
      cpu: { count: 1 },
      nics: [
        { name: 'lan', network: 'lan' },
        { name: 'net1', mac: '52:54:00:aa:bb:cc' },
      ],
      devices: noDevices,
    },
    { networks },
  ),
  goldenCase(
    'nic-network-vhost',
    {
      cpu: { count: 2 },
      accelerator: 'kvm',
      nics: [{ name: 'lan', network: 'lan' }],
      devices: noDevices,
    },
    { networks, accelerator: 'kvm', vhostNet: true },
  ),
  goldenCase(
    'nic-network-queues',
    { cpu: { count: 12 }, nics: [{ name: 'lan', network: 'big' }], devices: noDevices },
    { networks },
  ),
  goldenCase(
    'nic-network-said',
    {
      cpu: { count: 2 },
      nics: [
        { name: 'lan', network: 'lan', queues: 4, mtu: 1400, offloads: 'off' },
        { name: 'net1', network: 'big', queues: 1, mtu: 1500, offloads: 'on' },
      ],
      devices: noDevices,
    },
    { networks },
  ),
  goldenCase(
    'nic-network-offloads-qemu-10.0',
    { nics: [{ name: 'lan', network: 'lan', offloads: 'off' }], devices: noDevices },
    { networks, qemu: qemu10 },
  ),
  goldenCase('nic-models', {
    nics: (['e1000e', 'e1000', 'rtl8139'] as const).map((model) => ({ name: model, model })),
    disks: [root],
    devices: noDevices,
  }),
  goldenCase(
    'nic-models-on-networks-qemu-10.0',
    {
      cpu: { count: 2 },
      nics: (['igb', 'rtl8139'] as const).map((model) => ({ name: model, model, network: 'lan' })),
      devices: noDevices,
    },
    { networks, qemu: qemu10, accelerator: 'kvm', vhostNet: true },
  ),
  goldenCase(
    'nic-vf',
    {
      nics: [
        { name: 'lan', network: 'lan' },
        { name: 'fast', network: 'fast' },
      ],
      devices: noDevices,
    },
    {
      networks: {
        ...networks,
        fast: {
          bridge: 'eth0',
          mtu: 1500,
          sriov: { pfs: ['eth0'], vlan: 42, spoofCheck: true, trust: false },
        },
      },
      vfs: { fast: { address: '0000:02:10.1', pf: 'eth0' } },
    },
  ),
]
