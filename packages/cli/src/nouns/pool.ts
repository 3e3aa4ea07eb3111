/** The table of `kvasir pool`. */
import type { Verbs } from '../command.ts'

const pool = { name: 'POOL', completes: 'pool' } as const
const actions = () => import('../pool/pools.ts')

export const poolVerbs: Verbs = {
  list: { summary: 'All pools, and how full they are.', load: async () => (await actions()).listPools },
  show: { summary: 'One pool.', arguments: [pool], load: async () => (await actions()).showPool },
  create: {
    summary: 'Create a pool and start it.',
    examples: [
      'pool create fast --path /srv/fast',
      'pool create old --path /mnt/old --no-autostart',
      'pool create ssd --type lvm --vg vg0 --device /dev/sdb',
      'pool create thin --type lvm-thin --vg vg0 --thin-pool pool0 --size 100GiB',
      'pool create shared --type nfs --server 192.0.2.7 --export /srv/vms',
      'pool create san --type iscsi --server 192.0.2.7 --target iqn.2026-01.example:disks',
      'pool create ceph1 --type rbd --monitors 10.0.0.1,10.0.0.2 --ceph-pool rbd --user kvasir --secret ceph-key',
    ],
    arguments: [{ name: 'POOL' }],
    flags: {
      type: {
        summary: 'What it is made of.',
        value: 'TYPE',
        completes: ['dir', 'lvm', 'lvm-thin', 'nfs', 'iscsi', 'rbd'],
      },
      path: { summary: 'The folder; made when it is missing.', value: 'FOLDER', completes: 'file' },
      vg: { summary: 'The volume group, of lvm and lvm-thin.', value: 'NAME' },
      device: {
        summary: 'An empty device to make the volume group of.',
        value: 'DEVICE',
        multiple: true,
        completes: 'file',
      },
      'thin-pool': { summary: 'The thin pool in the volume group.', value: 'NAME' },
      size: { summary: 'What the thin pool is made with when it is missing.', value: 'SIZE' },
      server: { summary: 'The storage server: an address or a name.', value: 'SERVER' },
      port: { summary: 'Its port, where it is not the usual one.', value: 'PORT' },
      export: { summary: 'The path that an NFS server exports.', value: 'PATH' },
      direct: { summary: 'The NFS export is not mounted: QEMU itself speaks to its server.' },
      target: { summary: 'The iSCSI target whose LUNs are the volumes.', value: 'IQN' },
      initiator: { summary: 'What the target is told of who asks.', value: 'IQN' },
      user: { summary: 'The user of CHAP, or of Ceph.', value: 'USER' },
      secret: { summary: 'The secret of the user, by its name.', value: 'SECRET' },
      monitors: { summary: 'Of rbd: the addresses of the monitors.', value: 'ADDRESS,...', multiple: true },
      'ceph-pool': { summary: 'Of rbd: the pool of Ceph.', value: 'NAME' },
      namespace: { summary: 'Of rbd: a namespace in it.', value: 'NAME' },
      network: {
        summary: 'Of rbd: where the OSDs are, if not beside the monitors.',
        value: 'CIDR',
        multiple: true,
      },
      'layers-in': {
        summary: 'Of lvm, iscsi and direct nfs: the pool of files that takes layers of snapshots.',
        value: 'POOL',
        completes: 'pool',
      },
      'no-autostart': { summary: 'Do not start it when the host boots.' },
      force: { summary: 'Take what is marked as another pool, and devices that hold something.' },
    },
    load: async () => (await actions()).createPool,
  },
  refresh: {
    summary: 'Look at what lies in a pool; tell what is missing or foreign.',
    arguments: [pool],
    load: async () => (await actions()).refreshPool,
  },
  check: {
    summary: 'Look whether a pool answers and holds what it should; ends with 1 when it does not.',
    arguments: [pool],
    load: async () => (await actions()).checkPool,
  },
  start: { summary: 'Start a pool.', arguments: [pool], load: async () => (await actions()).startPool },
  stop: {
    summary: 'Stop a pool that no running VM uses.',
    arguments: [pool],
    load: async () => (await actions()).stopPool,
  },
  autostart: {
    summary: 'Say whether a pool is started when the host boots.',
    arguments: [pool, { name: 'ON', completes: ['on', 'off'] }],
    load: async () => (await actions()).setAutostart,
  },
  layers: {
    summary:
      'Say which pool of files takes the layers of snapshots of volumes of a pool that has none itself.',
    examples: ['pool layers san fast'],
    arguments: [pool, { name: 'IN', completes: 'pool' }],
    load: async () => (await actions()).setLayers,
  },
  delete: {
    summary: 'Delete a pool; its volumes stay where they lie unless --remove-data is given.',
    examples: ['pool delete old', 'pool delete scratch --remove-data'],
    arguments: [pool],
    flags: {
      'remove-data': { summary: 'Remove its volumes as well.' },
      yes: { summary: 'Do not ask.', short: 'y' },
    },
    load: async () => (await actions()).deletePool,
  },
}
