/** What the host is and can do. Asked when it matters, never assumed. */
import type { AcceleratorChoice, Host, HostTopology, VmSpec } from '@kvasir/contract'
import type { CpuOffer } from '../model/cpu/cpu-offer.ts'
import type { DevicesReading } from '../model/devices/describe-devices.ts'
import type { IommuSurroundings } from '../model/host/judge-iommu.ts'
import type { ThpMode } from '../model/memory/host-memory.ts'
import type { HugepageReading } from '../model/memory/hugepages.ts'
import type { HostCpuSets } from '../model/placement/host-cpus.ts'
import type { QemuCapabilities } from '../model/qemu/qemu-capabilities.ts'
import type { SeenFolder } from '../model/storage/judge-share.ts'

/** One setting of the configuration for the host's kernel, and what came of it. */
export interface TuningOutcome {
  /** The key of the configuration: `ksm.run`. */
  readonly setting: string
  readonly path: string
  readonly wanted: string
  readonly state: 'applied' | 'refused' | 'absent'
  /** What the file holds now. */
  readonly value?: string
  /** Why it is not what was wanted, as a clause. */
  readonly reason?: string
}

/** The devices of the host as its kernel shows them. */
export interface HostDeviceFacts extends DevicesReading, Pick<IommuSurroundings, 'kernelOptions'> {
  readonly iommu: IommuSurroundings['files']
}

export interface HostFacts {
  describe(): Promise<Host>
  /** CPUs, caches, NUMA nodes and PCI devices; `host-failed` when the kernel shows no CPU. */
  topology(): Promise<HostTopology>
  /** PCI functions, USB and mediated devices, and what the IOMMU does with them; read anew each time. */
  devices(): Promise<HostDeviceFacts>
  /** Which CPUs VMs may be given; unlike `topology` cheap enough for each start. */
  cpuSets(): Promise<HostCpuSets>
  /** Asks the QEMU at hand; `emulator-missing` when there is none or it is too old. Cached by the binary's identity. */
  qemu(): Promise<QemuCapabilities & { readonly binary: string }>
  /** The accelerator for a VM and why; `accelerator-unavailable` when the spec requires KVM and it cannot be had. */
  chooseAccelerator(wanted: VmSpec['accelerator']): Promise<AcceleratorChoice>
  /** Which CPUs the QEMU at hand can give to guests; `emulator-failed` when it does not say. Slow once, then kept. */
  cpuOffer(accelerator: 'kvm' | 'tcg'): Promise<CpuOffer>
  /** Memory, nodes, and what the kernel does with them. */
  memory(): Promise<Host['memory']>
  /** What the configuration sets in the kernel of this host, and what came of it. */
  tuning(): readonly TuningOutcome[]
  availableMemoryBytes(): Promise<number>
  totalMemoryBytes(): Promise<number>
  /** Reserved huge pages of a size, less what VMs that are starting will take. */
  hugepages(pageBytes: number): Promise<HugepageReading>
  /** What a process of ours may be allowed to lock; undefined: anything. */
  lockableBytes(): Promise<number | undefined>
  thpMode(): Promise<ThpMode>
  /** The UEFI images of this host by their descriptors, in their order; files are named through no link. */
  firmware(): Promise<Host['firmware']>
  /** Whether the program is there that is a VM's TPM. */
  hasSwtpm(): boolean
  /** The program that serves folders to guests by virtiofs; undefined where there is none. */
  virtiofsd(): string | undefined
  hasVsock(): boolean
  /** Whether the kernel can serve the NICs of guests itself: /dev/vhost-net is there and opens. */
  hasVhostNet(): boolean
  /** The frequency of the CPU's time stamp counter in kHz; undefined where the kernel does not say it for certain. */
  tscKhz(): Promise<number | undefined>
  /** Why emulators have no io_uring here, as a clause; undefined where they have it. */
  noIoUring(): Promise<string | undefined>
  /** Whether guests can have 3D, and on which render nodes. */
  graphics(): Promise<Host['graphics']>
  /** Checks a kernel or initrd that a spec names: a readable regular file, else `file-not-found`. */
  checkBootFile(path: string): Promise<void>
  /** What a folder is that is to be shared; `file-not-found` when nobody can say in time. */
  lookAtFolder(folder: string): Promise<SeenFolder>
  /** Where the daemon keeps its own, with what each is; through no link. */
  ownFolders(): readonly { readonly path: string; readonly what: string }[]
  /** Checks what a CD-ROM drive is to hold: a regular file under its own name, else `file-not-found`. */
  checkMedium(path: string): Promise<void>
}
