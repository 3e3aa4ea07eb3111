/** One start whose command line is kept in golden/: how it is made of a spec, for whichever file lists it. */
import { type VmSpecInput, vmSpec } from '@kvasir/contract'
import { planHardware } from '../pci/allocate.ts'
import type { HardwareInput } from './hardware.ts'
import type { QemuCapabilities } from './qemu-capabilities.ts'

/** One start with the name of its golden file. */
export interface GoldenCase {
  readonly name: string
  readonly input: HardwareInput
}

/** The oldest QEMU that is supported. */
export const qemu7: QemuCapabilities = {
  version: [7, 2, 22],
  machines: ['microvm', 'pc-q35-7.1', 'pc-q35-7.2'],
}
/** One in between. */
export const qemu8: QemuCapabilities = {
  version: [8, 2, 2],
  machines: ['microvm', 'pc-q35-7.2', 'pc-q35-8.2'],
}
/** A new one. */
export const qemu10: QemuCapabilities = {
  version: [10, 0, 2],
  machines: ['microvm', 'pc-q35-7.2', 'pc-q35-10.0'],
}

/** A VM with nothing but what a case is about. */
export const noDevices = { rng: false, balloon: false, agent: false, vnc: false, vsock: false, panic: false }
/** The disk that most cases have. */
export const root = { name: 'root', image: 'debian-13' }

interface Start extends Partial<Omit<HardwareInput, 'spec'>> {
  /** The files of each disk's chain, top first; without an entry, one qcow2 file. */
  /** The addresses of its devices of the host. */
  readonly handed?: Readonly<Record<string, string>>
  /** The virtual functions that its NICs are. */
  readonly vfs?: HardwareInput['hardware']['vfs']
  readonly chains?: Readonly<Record<string, HardwareInput['disks'][number]['chain']>>
}

/** A start of a spec, under TCG with the oldest QEMU unless `start` says otherwise. */
export function goldenCase(name: string, specInput: VmSpecInput, start: Start = {}): GoldenCase {
  const { chains, handed, vfs, ...rest } = start
  const spec = vmSpec.parse(specInput)
  const qemu = rest.qemu ?? qemu7
  const input: HardwareInput = {
    name: 'web1',
    uuid: '3c4f9f6a-7e43-4b0e-9d55-0c8a1f6f2b10',
    spec,
    hardware: { ...planHardware(spec, undefined, { qemu, vsockCid: 4242 }), hostDevices: handed, vfs },
    accelerator: 'tcg',
    qemu,
    disks: spec.disks.map((disk) => ({
      disk: disk.name,
      chain: chains?.[disk.name] ?? [{ path: `/srv/${disk.name}.qcow2`, format: 'qcow2' }],
    })),
    kernel: undefined,
    seedPath: spec.cloudInit === undefined ? undefined : '/srv/seed.iso',
    vsock: false,
    restorePath: undefined,
    ...rest,
  }
  return { name, input }
}
