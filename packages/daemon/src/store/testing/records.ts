/** Records for the tests of the store. */
import { vmSpec } from '@kvasir/contract'
import type { VmRecord, VolumeRecord } from '../../ports/store.ts'

/** A VM that runs, with every part of its record present. */
export function sampleVm(id: string, changes: Partial<VmRecord> = {}): VmRecord {
  const spec = vmSpec.parse({
    image: 'tiny',
    disks: [{ name: 'root', volume: `${id}-root` }],
    nics: [{ name: 'lan', mac: '52:54:00:12:34:56', forwards: [{ hostPort: 2222, guestPort: 22 }] }],
  })
  return {
    id,
    name: `vm-${id}`,
    revision: 1,
    createdAt: '2026-11-21T09:00:00.000Z',
    phase: 'ready',
    intent: 'none',
    uid: 2_100_000_000,
    spec,
    hardware: {
      machine: 'pc-q35-7.2',
      pci: { 'disk-root': { slot: 1, function: 0 }, 'nic-lan': { slot: 2, function: 0 } },
      vsockCid: undefined,
    },
    life: { state: 'running', reason: 'started', since: '2026-11-21T09:00:01.000Z' },
    run: {
      emulator: {
        pid: 4711,
        startTicks: 123456,
        bootId: 'boot-1',
        cgroup: '/kvasir/vm-1',
        startedAt: '2026-11-21T09:00:01.000Z',
        qemuVersion: '7.2.22',
        plan: {
          ids: {
            ioThreads: ['io-root'],
            disks: { root: { device: 'disk-root', node: 'node-root', chain: ['node-root'] } },
            nics: { lan: { device: 'nic-lan', netdev: 'net-lan' } },
            vncSocketName: undefined,
          },
        },
      },
      accelerator: 'tcg',
      acceleratorReason: 'The host has no /dev/kvm.',
      bootedSpec: spec,
    },
    lifeBeforeStart: undefined,
    saved: undefined,
    ...changes,
  }
}

/** An overlay on an image. */
export function sampleVolume(id: string, changes: Partial<VolumeRecord> = {}): VolumeRecord {
  return {
    id,
    name: `volume-${id}`,
    pool: 'default',
    format: 'qcow2',
    capacityBytes: 2 ** 30,
    imageId: 'a'.repeat(64),
    baseId: undefined,
    phase: 'ready',
    frozen: false,
    madeForVm: undefined,
    createdAt: '2026-11-21T09:00:00.000Z',
    ...changes,
  }
}

/** Time that stands still. */
export const sampleNow = () => '2026-11-21T10:00:00.000Z'

/** Room on a full disk for stores that live as long as a test: filling the usual one takes most of the time of opening a store. */
export const sampleRoomBytes = 64 * 1024
