/**
 * The hardware of a VM: what is pinned at creation and never changes under the guest, and what a start adds to it.
 *
 * `Hardware` is stored beside the spec: machine version, PCI addresses, vsock CID. A device keeps its address for as long as it
 * exists (design decision 6). model/pci decides it.
 */
import type { GuestShape, VmSpec } from '@kvasir/contract'
import type { Extension } from '../cpu/cpu-model.ts'
import type { ChosenVf } from '../devices/choose-vfs.ts'
import type { PlugMemory } from '../memory/plug-memory.ts'
import type { NetworkSriov } from '../network/network-record.ts'
import type { PortVlans } from '../network/port-vlans.ts'
import type { PciAddress } from '../pci/layout.ts'
import type { VolumeSource } from '../storage/volume-source.ts'
import type { QemuCapabilities } from './qemu-capabilities.ts'

/** Addresses that were given once and then kept, by device id (`disk-root`, `nic-lan`, `rng`, ...). */
export interface Hardware {
  /** The versioned machine type, e.g. `pc-q35-7.2`, or `microvm`. */
  readonly machine: string
  /** Places on `pcie.0` by device id: of the device, or of the root port that it sits behind (model/pci/layout.ts). */
  readonly pci: Readonly<Record<string, PciAddress>>
  readonly vsockCid: number | undefined
  /** The root ports that there are, where disks came and went since the boot; else they follow from the addresses (`portCount`). */
  readonly ports?: number | undefined
  /** How many root ports are empty after the boot, where its spec says so. */
  readonly spareSlots?: number | undefined
  /** The ports of its disks on SATA, by the disk's name. */
  readonly sata?: Readonly<Record<string, number>> | undefined
  /** The LUNs of disks that share a controller, by the disk's name. */
  readonly luns?: Readonly<Record<string, number>> | undefined
  /** The numbers of its channels, by their names; those of the oldest rows follow from their places in the spec. */
  readonly channels?: Readonly<Record<string, number>> | undefined
  /** The addresses of the devices of the host that its last start gave it, by their names in the spec. */
  readonly hostDevices?: Readonly<Record<string, string>> | undefined
  /** The virtual functions that NICs are since its last start, by their names in the spec. */
  readonly vfs?: Readonly<Record<string, ChosenVf>> | undefined
  /** The memory that the emulator is started with, where more can be plugged while it runs. */
  readonly plugMemory?: PlugMemory | undefined
}

/** What one disk of a VM is backed by at this start: every file of its chain, top first. A drive without a medium has none. */
export interface DiskBacking {
  readonly disk: string
  readonly chain: readonly VolumeSource[]
  /** False where the file system refuses O_DIRECT (tmpfs): `cache: none` is then carried out as writeback. */
  readonly directIo?: boolean
  /** False where its volume is no file that this host alone has. */
  readonly isLocal?: boolean
}

/** What a NIC is to know of its network. */
export interface NicNetwork {
  readonly bridge: string
  readonly mtu: number
  /** Somebody else made its bridge, whose MTU is theirs. */
  readonly isOthers?: true
  /** Of a network of mode sriov: what the virtual functions of its NICs are set to. */
  readonly sriov?: NetworkSriov | undefined
  /** Where its bridge tells VLANs apart: those of NICs that name none. */
  readonly vlans?: PortVlans | undefined
  /** Its link is a macvtap that the network has made, and no port of a bridge. */
  readonly macvtap?: true
}

/** NUMA nodes of the guest, and how far they are from each other. */
export type GuestNodes = Pick<GuestShape, 'nodes' | 'distances'>

/** All that decides the argv of one start. */
export interface HardwareInput {
  readonly name: string
  readonly uuid: string
  readonly spec: VmSpec
  readonly hardware: Hardware
  readonly accelerator: 'kvm' | 'tcg'
  readonly qemu: QemuCapabilities
  readonly disks: readonly DiskBacking[]
  /** Direct kernel boot: of the spec's own kernel or of its image. */
  readonly kernel:
    | { readonly path: string; readonly initrd: string | undefined; readonly cmdline: string }
    | undefined
  /** The image of UEFI and the VM's own variables, where its spec has that. */
  readonly firmware?: { readonly executable: string; readonly nvramPath: string } | undefined
  /** Where the state of its TPM lies, where its spec has one. */
  readonly tpmDirectory?: string | undefined
  /** The program that serves shares, where its spec has some. */
  readonly virtiofsd?: string | undefined
  /** The render node that its 3D is made on, where its spec has that. */
  readonly renderNode?: string | undefined
  /** The NoCloud seed's file, when the spec has cloudInit. */
  readonly seedPath: string | undefined
  /** Whether the host has /dev/vhost-vsock. */
  readonly vsock: boolean
  /** Whether the host has /dev/vhost-net; it has not, when not said. */
  readonly vhostNet?: boolean | undefined
  /** The extension that `cpu.nested` shows to the guest; svm when not said. */
  readonly extension?: Extension | undefined
  /** The host's time stamp counter in kHz, which a guest under TCG reads; absent where it is not known for certain. */
  readonly tscKhz?: number | undefined
  /** The NUMA nodes that the guest sees, where it spans nodes of the host; their memory adds up to that of the boot. */
  readonly guestNodes?: GuestNodes | undefined
  /** Whether the host's kernel has transparent huge pages; undefined: it has. */
  readonly hasThp?: boolean | undefined
  /** Why this host has no io_uring; undefined where it has it, or no disk asks. */
  readonly noIoUring?: string | undefined
  /** The networks that its NICs are on, by their names. */
  readonly networks?: Readonly<Record<string, NicNetwork>> | undefined
  /** Memory saved by `vm save`, to start from. */
  readonly restorePath: string | undefined
}
