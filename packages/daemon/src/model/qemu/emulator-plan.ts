/**
 * What it takes to start one emulator: the outcome of every hardware decision, as plain data.
 *
 * The adapter (host/qemu) opens the descriptors in order, beginning with `firstDescriptor`, makes the binds, starts the network helpers
 * and executes QEMU inside its cage. It decides nothing.
 */

import type { PortVlans } from '../network/port-vlans.ts'
import type { VfSettings } from '../network/vf-settings.ts'
import type { Reach } from '../storage/reach.ts'
import type { SecretObject } from '../storage/secret-use.ts'
import type { AioChoice } from './aio.ts'
import type { CacheChoice } from './cache.ts'

/** The number of the first descriptor in a plan's list; those below 10 belong to the launcher (host/cage/launcher-script.ts). */
export const firstDescriptor = 10

/** The number of the pipe to the serial log, opened write-only, which the launcher opens itself. */
export const serialLogDescriptor = 4

/**
 * A descriptor that QEMU inherits. Its number is `firstDescriptor` plus its place in the plan.
 *
 * The access mode counts: QEMU takes a descriptor out of an fd set only if it was opened with exactly the mode it asks for.
 */
export type Descriptor =
  /** A UNIX socket on which `listen` was called already. */
  | { readonly kind: 'listener'; readonly socket: ListenerName }
  /** `direct`: opened with O_DIRECT. From 9.1 on, QEMU counts that flag as part of the mode; 7.2 sets it by itself. */
  | {
      readonly kind: 'file'
      readonly path: string
      readonly access: 'read' | 'read-write'
      readonly direct: boolean
      /** It lies on what may hang, so it is opened by a process that can be killed, and through no link. */
      readonly guarded?: true
      /** It is a block device, found through links that udev made. */
      readonly device?: true
    }
  /** A device node, opened for reading and writing. */
  | { readonly kind: 'device'; readonly path: string }
  /** A connected UNIX socket, whose other end the network helper of the NIC has. */
  | { readonly kind: 'nic'; readonly nic: string }
  /** A connected UNIX socket, whose other end the TPM has. */
  | { readonly kind: 'tpm' }
  /** A connected UNIX socket, whose other end is that of the process that serves the folder. */
  | { readonly kind: 'share'; readonly share: string }
  /** A queue of a tap, which is made on a bridge. */
  | { readonly kind: 'tap'; readonly tap: string; readonly queue: number }

/** The sockets that the daemon listens on for QEMU, by their file names in the VM's runtime directory. */
export type ListenerName = 'monitor' | 'statistics' | 'serial' | 'agent' | `channel${number}`

/** A file of the host that appears read-only inside the cage. */
export interface Bind {
  readonly source: string
  readonly target: '/boot/kernel' | '/boot/initrd'
}

/** The directory inside the cage in which QEMU makes its sockets. */
export const shareDirectory = '/run/vm'

/** Where QEMU finds a secret when it starts; the file is gone when the guest begins. */
export function secretPath({ object }: Pick<SecretObject, 'object'>): string {
  return `${shareDirectory}/${object}`
}

/** What is opened for each queue that the kernel is to serve. */
export const vhostNetDevice = '/dev/vhost-net'

/** One user-mode NIC: served by a process, passt or slirp, which has the other end of the NIC's descriptor. */
export interface UserNicPlan {
  readonly nic: string
  readonly mac: string
  readonly forwards: readonly {
    readonly protocol: 'tcp' | 'udp'
    readonly hostAddress: string
    readonly hostPort: number
    readonly guestPort: number
  }[]
}

/** A folder of the host that is served by a process of its own, which has the other end of the share's descriptor. */
export interface SharePlan {
  readonly share: string
  readonly folder: string
  readonly readOnly: boolean
  /** The program that serves it. */
  readonly program: string
}

/** The tap of a NIC on a network: made when the emulator starts, and gone when nobody has it open any more. */
export interface TapPlan {
  readonly nic: string
  readonly tap: string
  readonly bridge: string
  /** Of the tap, of its network, and of its guest (model/network/nic-mtu.ts). */
  readonly mtu: number
  readonly networkMtu: number
  readonly guestMtu: number
  /** Its VLANs, where the bridge tells them apart. */
  readonly vlans?: PortVlans | undefined
  /** It is there already, and on no bridge: it is only opened. */
  readonly macvtap?: true
  readonly queues: number
  /** The kernel serves its queues (vhost-net); else the emulator's main thread does. */
  readonly vhost: boolean
}

/** The directory inside the cage in which a device of the host is described, as far as QEMU asks. */
export const hostDeviceDirectory = '/devices'

/** The directory inside the cage in which the files of shared memory lie, when the plan has a file system for them. */
export const memoryDirectory = '/memory'

/** What the memory of the guest takes besides arguments. */
export interface MemoryPlan {
  /** The tmpfs that shared memory is a file of, with huge pages or without; it lives and dies with the cage. */
  readonly fileSystem:
    | { readonly sizeBytes: number; readonly huge: boolean; readonly files: readonly string[] }
    | undefined
  /** No transparent huge pages, for the whole process. */
  readonly withoutThp: boolean
  /** What the process must be allowed to lock; undefined when it locks nothing. */
  readonly lockableBytes: number | undefined
  /** What QEMU takes from the host before it answers. */
  readonly touchedBytes: number
  /** What it may have to read before it answers: saved memory is loaded by the thread that serves the monitor. */
  readonly loadedBytes: number
}

/** What a disk lies on that QEMU speaks to itself. */
export interface DiskReach {
  readonly disk: string
  readonly servers: readonly Reach[]
}

/** A disk's device, the node that it sits on, and every node of its chain that has a format, top first. */
export interface DiskIds {
  readonly device: string
  readonly node: string
  readonly chain: readonly string[]
  /** The I/O thread that serves it; absent in what an older version wrote down. */
  readonly ioThread?: string | undefined
  /** The controller that it shares; that and its I/O thread stay when the disk goes. */
  readonly controller?: string | undefined
  readonly aio?: AioChoice | undefined
  readonly cache?: CacheChoice | undefined
}

/** Who serves NICs in user mode, and why it is that one. */
export interface UserServer {
  readonly kind: 'passt' | 'slirp'
  readonly reason: string
}

/** A NIC's device and its back end, whether the kernel serves that, whether it is a macvtap, and in user mode who serves it. */
export interface NicIds {
  readonly device: string
  readonly netdev: string
  readonly macvtap?: boolean | undefined
  readonly vhost?: boolean | undefined
  readonly user?: UserServer | undefined
}

/** A channel's port, which is its character device too, and the file name of its socket in the VM's runtime directory. */
export interface ChannelIds {
  readonly device: string
  readonly socket: ListenerName
}

/** A virtual function of the host that is a NIC, and what it is set to meanwhile. */
export interface VfPlan {
  readonly nic: string
  readonly address: string
  readonly settings: VfSettings
}

export interface EmulatorPlan {
  /** QEMU's arguments, without the binary. */
  readonly argv: readonly string[]
  readonly descriptors: readonly Descriptor[]
  readonly binds: readonly Bind[]
  readonly userNics: readonly UserNicPlan[]
  /** Absent: none. */
  readonly taps?: readonly TapPlan[]
  /** The directory of its TPM's state; absent: it has no TPM. */
  readonly tpm?: { readonly stateDirectory: string } | undefined
  /** Absent: none. */
  readonly shares?: readonly SharePlan[]
  /** Devices of the host that it is given, by address. Absent: none. */
  readonly hostDevices?: readonly string[]
  /** Those of them that are NICs on networks of mode sriov. Absent: none. */
  readonly vfs?: readonly VfPlan[]
  /** Files of the host that their guests get for their ROMs, by address. */
  readonly roms?: Readonly<Record<string, string>>
  /** What must lie at `secretPath` when it is executed. */
  readonly secrets: readonly SecretObject[]
  readonly memory: MemoryPlan
  /** The servers that QEMU speaks to itself, by the disk that lies on them. */
  readonly reach: readonly DiskReach[]
  /** The I/O threads that there can be with all disks that may be plugged while it runs. */
  readonly mostIoThreads: number
  /** What a caller may want to talk to later: QOM ids by our names. */
  readonly ids: {
    readonly ioThreads: readonly string[]
    /** By the disk's name. */
    readonly disks: Readonly<Record<string, DiskIds>>
    /** By the NIC's name. */
    readonly nics: Readonly<Record<string, NicIds>>
    readonly vncSocketName: string | undefined
    readonly spiceSocketName?: string | undefined
    /** The render node of the host that it draws on; absent: it has no 3D. */
    readonly renderNode?: string | undefined
    /** By the channel's name. Absent: none. */
    readonly channels?: Readonly<Record<string, ChannelIds>> | undefined
  }
}
