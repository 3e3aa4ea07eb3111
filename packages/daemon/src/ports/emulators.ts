/**
 * Emulators: QEMU processes in their cages, as the rest of the daemon needs them.
 *
 * An emulator is known by its VM's id. Everything it leaves on the host (runtime directory, cgroup, sockets, helpers) has a name
 * derived from that id, so that `clean` can remove it without having been told what was made. An emulator outlives the daemon.
 */
import type { Duplex } from 'node:stream'
import type { DiskLatency } from '@kvasir/contract'
import type { PageWant } from '../model/memory/hugepages.ts'
import type { NicCounters } from '../model/network/link-counters.ts'
import type { ThreadPlan } from '../model/placement/plan-threads.ts'
import type { EmulatorPlan } from '../model/qemu/emulator-plan.ts'
import type { GuestActions } from '../model/qemu/lifecycle.ts'
import type { LimitFiles } from '../model/vm/limit-files.ts'
import type { EmulatorBlocks } from './emulator-blocks.ts'
import type { ChannelAnswer, EmulatorChannels } from './emulator-channels.ts'
import type { DeviceAnswer, EmulatorDevices } from './emulator-devices.ts'
import type { DiskAnswer, EmulatorDisks } from './emulator-disks.ts'
import type { EmulatorHostDevices, HostDeviceAnswer } from './emulator-host-devices.ts'
import type { EmulatorMemory, GuestReport, MemoryLimits, PluggedMemory } from './emulator-memory.ts'
import type { EmulatorNics, NicAnswer } from './emulator-nics.ts'
import type { EmulatorScreen } from './emulator-screen.ts'
import type { EmulatorShares, ShareAnswer } from './emulator-shares.ts'
import type { EmulatorThreads, ThreadUse } from './emulator-threads.ts'
import type { EmulatorVcpus, VcpuAnswer, VcpuThread } from './emulator-vcpus.ts'

/** How the emulator process ended. */
export interface EmulatorExit {
  /** Undefined when the process was adopted, so that its exit status went to somebody else. */
  readonly code: number | undefined
  readonly signal: string | undefined
  /** The end of its log. */
  readonly log: string
}

/** What happens inside an emulator, in our words. Hints only: state is always asked for. */
export type EmulatorEvent =
  | { readonly kind: 'stopped' }
  | { readonly kind: 'resumed' }
  | { readonly kind: 'reset'; readonly byGuest: boolean }
  | { readonly kind: 'shutdown'; readonly byGuest: boolean; readonly reason: string }
  | { readonly kind: 'powering-down' }
  | { readonly kind: 'panicked'; readonly action: string }
  | { readonly kind: 'watchdog'; readonly action: string }
  | { readonly kind: 'io-error'; readonly node: string; readonly noSpace: boolean; readonly reason: string }
  | { readonly kind: 'agent'; readonly connected: boolean }
  | { readonly kind: 'balloon'; readonly actualBytes: number }
  | { readonly kind: 'plugged'; readonly bytes: number }
  /** Something happened to the vCPUs; with an answer where the guest gave one. */
  | { readonly kind: 'vcpus'; readonly answer: VcpuAnswer | undefined }
  /** The guest let go of a disk, or refused to. */
  | { readonly kind: 'disk'; readonly answer: DiskAnswer }
  /** The guest let go of a NIC, or refused to. */
  | { readonly kind: 'nic'; readonly answer: NicAnswer }
  /** The guest let go of a device of the host, or refused to. */
  | { readonly kind: 'host-device'; readonly answer: HostDeviceAnswer }
  /** A channel is gone, asked or not. */
  | { readonly kind: 'channel'; readonly answer: ChannelAnswer }
  /** The guest let go of a share, or refused to. */
  | { readonly kind: 'share'; readonly answer: ShareAnswer }
  /** The guest let go of a small device, or refused to. */
  | { readonly kind: 'device'; readonly answer: DeviceAnswer }
  /** The helper that serves a NIC has gone: the NIC is without a network until the VM's next start. */
  | { readonly kind: 'network-lost'; readonly netdev: string }

/** What is written down about a launched emulator, to find it again. */
export interface EmulatorRecord {
  readonly pid: number
  readonly startTicks: number
  readonly bootId: string
  readonly cgroup: string
  readonly startedAt: string
  readonly qemuVersion: string
  readonly plan: Pick<EmulatorPlan, 'ids'>
}

export interface SaveProgress {
  readonly transferredBytes: number
  readonly totalBytes: number
}

/** A running emulator. Every call has a time-out of its own; `KvasirError('emulator-unresponsive')` when it passes. */
export interface Emulator {
  readonly record: EmulatorRecord
  /** Settles when the process has ended or its monitor is gone for good. */
  readonly closed: Promise<EmulatorExit>
  onEvent(listener: (event: EmulatorEvent) => void): () => void
  /** QEMU's own run state, e.g. `running`, `paused`, `shutdown`, `io-error`. */
  runState(): Promise<string>
  /** Which disk did not carry out a request, and whether for want of space. */
  ioStatus(): Promise<IoStatus>
  /** The sockets of the emulator whose other end has gone, by their ids in its arguments; of those that wait for somebody too. */
  unconnected(): Promise<readonly string[]>
  resume(): Promise<void>
  pause(): Promise<void>
  reset(): Promise<void>
  pressPowerButton(): Promise<void>
  /** Says what it does by itself from now on when the guest reboots, and when its watchdog fires. */
  act(actions: GuestActions): Promise<void>
  /** Ends the process: asks, then kills the whole cgroup. Returns when nothing of it is left. */
  end(options: { readonly graceMs: number }): Promise<void>
  /** Writes the memory to a file and leaves the vCPUs stopped. The partial file stays on failure; the caller removes it. */
  saveTo(path: string, options: SaveOptions): Promise<void>
  /** Ends a save that a former daemon began, if one is under way. The vCPUs stay as they are. */
  abandonSave(): Promise<void>
  vcpuThreads(): Promise<readonly VcpuThread[]>
  statistics(): Promise<EmulatorStatistics>
  /** What files of its cgroup say now, such as `memory.max`; without those that this host does not have. */
  limits(files: readonly string[]): Promise<LimitFiles>
  readonly threads: EmulatorThreads
  agent: AgentChannel
  memory: EmulatorMemory
  blocks: EmulatorBlocks
  vcpus: EmulatorVcpus
  disks: EmulatorDisks
  nics: EmulatorNics
  screen: EmulatorScreen
  channels: EmulatorChannels
  hostDevices: EmulatorHostDevices
  shares: EmulatorShares
  devices: EmulatorDevices
  /** Opens the serial console; one connection at a time. */
  connectSerial(): Promise<Duplex>
  /** Lets go of sockets without touching the process: the daemon is leaving. */
  release(): Promise<void>
}

/** What became of the requests of an emulator's disks. */
export interface IoStatus {
  readonly kind: 'ok' | 'failed' | 'nospace'
  /** The disk's name, where it is one of the spec's. */
  readonly disk?: string | undefined
}

export interface SaveOptions {
  readonly onProgress: (progress: SaveProgress) => void
  readonly signal: AbortSignal
}

export interface BlockCounters {
  readonly disk: string
  readonly readBytes: number
  readonly writtenBytes: number
  readonly readRequests: number
  readonly writeRequests: number
  readonly flushRequests: number
  /** Undefined until the emulator counts them. */
  readonly latency?: DiskLatency | undefined
}

export interface EmulatorStatistics {
  readonly residentBytes: number
  readonly cpuSeconds: number
  readonly vcpus: readonly (ThreadUse & { readonly index: number })[]
  /** The main thread. */
  readonly emulatorThread: ThreadUse | undefined
  readonly ioThreads: readonly (ThreadUse & { readonly disk: string })[]
  /** The workers of vhost, where the kernel shows them as threads of the emulator (Linux 6.4 and newer). */
  readonly vhostThreads?: readonly ThreadUse[] | undefined
  readonly disks: readonly BlockCounters[]
  /** Those on networks. */
  readonly nics: readonly NicCounters[]
  readonly balloonBytes: number | undefined
  readonly swappedBytes: number
  readonly ksmBytes?: number | undefined
  readonly plugged?: PluggedMemory | undefined
  /** What the guest's balloon driver last reported. */
  readonly guestMemory?: GuestReport | undefined
}

/** The guest agent. Every call fails with `guest-agent-unavailable` when it does not answer in time. */
export interface AgentChannel {
  isConnected(): boolean
  shutdown(mode: 'powerdown' | 'reboot'): Promise<void>
  exec(request: {
    readonly command: readonly string[]
    readonly input: string | undefined
    readonly timeoutMs: number
    readonly signal: AbortSignal
  }): Promise<AgentExecResult>
  identity(): Promise<{
    readonly hostname: string
    readonly os: string
    readonly interfaces: readonly { name: string; mac: string | undefined; addresses: readonly string[] }[]
  }>
  /** What the guest's kernel says of its memory; undefined when the agent may not read files. */
  memory(): Promise<GuestReport | undefined>
  /** Freezes the guest's file systems; answers how many. */
  freeze(): Promise<number>
  /** Lets the guest write again; safe to repeat. */
  thaw(): Promise<void>
  /** Makes the guest use every vCPU that it has; answers how many it uses then. */
  useAllVcpus(): Promise<number>
}

export interface AgentExecResult {
  readonly exitCode: number | undefined
  readonly signal: number | undefined
  readonly stdout: Uint8Array
  readonly stderr: Uint8Array
  readonly truncated: boolean
}

/** What was found of a VM's emulator on the host. */
export type Adoption =
  | { readonly kind: 'alive'; readonly emulator: Emulator }
  | { readonly kind: 'unresponsive'; readonly pid: number; readonly reason: string }
  | { readonly kind: 'gone'; readonly log: string }

export interface LaunchRequest {
  readonly id: string
  readonly uuid: string
  readonly name: string
  /** The emulator's UID and GID; its network helpers run as the next one. */
  readonly uid: number
  readonly plan: EmulatorPlan
  /** A copy of the VM's record, kept beside the emulator so that a damaged store can be mended from it. */
  readonly memo: string
  readonly vcpuCount: number
  readonly memoryBytes: number
  /** Without them its cgroup is not limited. */
  readonly memoryLimits?: MemoryLimits
  /** Applied before the first instruction; absent where the threads may run as they like. */
  readonly threads?: ThreadPlan | undefined
  /** The reserved huge pages that its memory is made of. */
  readonly pages?: PageWant | undefined
}

/** Huge pages of a node that were reserved for a VM. */
export interface PageReservation {
  readonly id: string
  readonly node: number
  readonly pages: number
  readonly pageBytes: number
}

export interface Emulators {
  /** Says that a launch will come within moments, so that what takes time can begin. Returns at once. */
  announceLaunch(): void
  /** Starts a caged emulator with the huge pages that it wants, which `clean` gives back, checks over QMP that it is the one asked for and stands before its first instruction. Undoes itself on failure. */
  launch(request: LaunchRequest, signal: AbortSignal): Promise<Emulator>
  /** Looks for the emulator of a VM on the host and takes it over. */
  adopt(id: string, options: { readonly timeoutMs: number }): Promise<Adoption>
  /** The ids of all VMs that have left anything of an emulator on this host. */
  present(): Promise<readonly string[]>
  /** The memo of a VM whose emulator was launched here. */
  memo(id: string): Promise<string | undefined>
  /** Kills and removes all that is left of a VM's emulator. Safe to repeat. */
  clean(id: string): Promise<void>
  /** The end of the emulator's log or of its serial console; empty when there is none. */
  readLog(id: string, source: 'emulator' | 'serial', bytes: number): Promise<Uint8Array>
  /** What a VM's logs leave behind is removed with the VM. */
  removeLogs(id: string): Promise<void>
  /** Huge pages that were reserved for VMs and are to be given back. */
  reservations(): Promise<readonly PageReservation[]>
  /** What this host cannot enforce of the cage, in sentences. */
  readonly cageLimits: readonly string[]
  /** The controllers of cgroup v2 that this host has for VMs, such as `cpu`. */
  readonly controllers: readonly string[]
  /** Differences between what the cage of a running VM should be and what /proc says. `files` are what it may have open besides those of its start. */
  inspectCage(id: string, files?: readonly string[]): Promise<readonly string[]>
}
