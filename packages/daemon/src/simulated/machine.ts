/**
 * The simulated machine: everything of a host that outlives the daemon, in memory.
 *
 * Several simulated ports, made one after another over the same machine, are daemons that follow each other on one host. Tests change
 * the machine directly: that is what the guest, the kernel or an operator would do.
 */

import type { Image, NetworkFinding } from '@kvasir/contract'
import type { RenderNode } from '../model/host/judge-graphics.ts'
import type { NodePages } from '../model/memory/hugepages.ts'
import type { GuestNic } from '../model/network/dnsmasq-conf.ts'
import type { HostFilters } from '../model/network/host-filters.ts'
import type { HostNetwork } from '../model/network/host-network.ts'
import type { NetworkSpec } from '../model/network/network-record.ts'
import type { HostListener } from '../model/network/port-claims.ts'
import type { RuleCounts } from '../model/network/rule-counts.ts'
import type { Wire } from '../model/network/wires.ts'
import type { GuestActions } from '../model/qemu/lifecycle.ts'
import type { Qcow2Table } from '../model/storage/qcow2-header.ts'
import type { Clock } from '../ports/clock.ts'
import type { MemoryLimits } from '../ports/emulator-memory.ts'
import type { HostDeviceFacts } from '../ports/host-facts.ts'
import type { EmulatorProcess } from './emulator-process.ts'
import type { SimulatedContents } from './simulated-client-files.ts'

/** A volume's file. */
export interface SimulatedVolume {
  readonly capacityBytes: number
  readonly allocatedBytes: number
  /** The file it is an overlay of. */
  readonly basePath: string | undefined
  /** The folder of its pool, where that is not the default one. */
  readonly folder?: string | undefined
  /** Grows with each change of what is written on it. */
  readonly writtenAt?: number
  /** Clusters that are leaked, and clusters that are corrupt. */
  readonly damage?:
    | {
        readonly leaks: number
        readonly corruptions: number
        /** It was cut short before this table. */
        readonly behindEnd?: Qcow2Table
      }
    | undefined
  /** Its own name, where an operator put it there. */
  readonly file?: string | undefined
  /** How many names it has, where that is more than one. */
  readonly names?: number
}

/** Saved memory: bytes written so far, and whether it was published. */
export interface SimulatedSave {
  readonly partial: Uint8Array | undefined
  readonly whole: Uint8Array | undefined
}

/** A network on the host. */
export interface SimulatedNetwork {
  readonly network: NetworkSpec
  readonly guests: readonly GuestNic[]
  readonly wires: readonly Wire[]
  /** What is amiss with it, until it is made again. */
  readonly findings: readonly NetworkFinding[]
  /** What its rules have dropped. */
  readonly ruleCounts?: RuleCounts
}

const gib = 2 ** 30

export class SimulatedMachine {
  readonly clock: Clock
  /** Emulators by their VM's id; one that died stays until it is cleaned up. */
  readonly processes = new Map<string, EmulatorProcess>()
  /** The passwords of displays, by VM. */
  readonly spicePasswords = new Map<string, string>()
  /** Sockets of emulators whose other end has gone, by VM. */
  readonly unconnected = new Map<string, readonly string[]>()
  /** What emulators were told to do by themselves since their start, by VM. */
  readonly actions = new Map<string, GuestActions>()
  readonly logs = new Map<string, { emulator: Uint8Array; serial: Uint8Array }>()
  readonly volumes = new Map<string, SimulatedVolume>()
  /** What is written on volumes, in blocks, by their ids. */
  readonly contents = new Map<string, Map<number, Uint8Array>>()
  /** What clients have open, by descriptor. */
  readonly clientFiles = new Map<number, SimulatedContents>()
  /** The volumes for which what their origins held at a moment is kept, until they are made. */
  readonly keptForCopies = new Set<string>()
  /** The volumes of which a pool still reads parts in others. */
  readonly nativeClones = new Set<string>()
  /** Pools by the folders that they have marked. */
  readonly marks = new Map<string, string>()
  /** Folders whose file systems do not answer. */
  readonly hungFolders = new Set<string>()
  /** What secrets are, by their ids. */
  readonly secrets = new Map<string, string>()
  /** Networks that are there, by their ids. */
  readonly networks = new Map<string, SimulatedNetwork>()
  /** What the host has of networks besides. */
  hostNetwork: HostNetwork = { links: [], addresses: [], routes: [] }
  /** The firewalls of others. */
  filters: HostFilters = {
    ruleset: { nftables: [] },
    text: '',
    legacy: [],
    uplinks: { 4: [], 6: [] },
    seesBridged: { 4: false, 6: false },
  }
  /** Programs of the host that wait for callers. */
  listeners: readonly HostListener[] = []
  readonly seeds = new Map<string, Uint8Array>()
  readonly saves = new Map<string, SimulatedSave>()
  /** The memory of snapshots, by their ids. */
  readonly memories = new Map<string, Uint8Array>()
  /** The variables of UEFI, by their ids. */
  /** The names of bitmaps that were put away, by the id of their volume. */
  readonly notes = new Map<string, readonly string[]>()
  readonly nvrams = new Map<string, Uint8Array>()
  /** The VMs whose TPMs have a state. */
  readonly tpms = new Set<string>()
  /** Whether it has a program for TPMs. */
  hasSwtpm = true
  hasVirtiofsd = true
  /** Whether it has images of UEFI. */
  hasUefi = true
  readonly images = new Map<string, Image>()
  /** What the cgroups of VMs allow. */
  readonly memoryLimits = new Map<string, MemoryLimits>()
  /** Kernels and initrds that specs may name. */
  /** Folders that can be shared. */
  readonly folders = new Set<string>()
  readonly bootFiles = new Set<string>(['/boot/vmlinuz', '/boot/initrd.img'])

  /** Free bytes of the pool; less than is needed means `not-enough-space`. */
  freeBytes = 500 * gib
  totalMemoryBytes = 16 * gib
  availableMemoryBytes = 12 * gib
  hasKvm = false
  /** Reserved huge pages, by their size. */
  readonly hugepages = new Map<number, readonly NodePages[]>()
  /** What emulators may be allowed to lock; undefined: anything. */
  lockableBytes: number | undefined
  /** CPU flags that the host has no longer, and that all models of QEMU but its own have. */
  lostCpuFlags: readonly string[] = []
  hasVsock = true
  hasVhostNet = true
  /** What hangs on its buses; tests put devices there. */
  devices: HostDeviceFacts = {
    pci: [],
    usb: [],
    mdevs: [],
    iommu: { units: [], tables: [], groups: [] },
    kernelOptions: [],
  }
  /** The render nodes of its GPUs. */
  renderNodes: readonly RenderNode[] = []
  /** Why it has no io_uring. */
  noIoUring: string | undefined = undefined
  /** The controllers of cgroup v2. */
  controllers: readonly string[] = ['cpu', 'cpuset', 'io', 'memory', 'pids']
  /** Whether nft is installed, without which no network is made or taken away. */
  hasNft = true
  /** CPUs that an operator has taken offline, of eight. */
  offlineCpus: readonly number[] = []
  /** Whether the kernel lets threads have the real-time policies. */
  allowsRealTime = true
  /** Undefined when the host has no QEMU. */
  qemuVersion: readonly [number, number, number] | undefined = [10, 0, 0]
  /** What the next launch does instead of succeeding; then undefined again. */
  nextLaunch: { readonly kind: 'fails'; readonly error: Error } | { readonly kind: 'hangs' } | undefined
  /** How long an emulator that does not answer is waited for. */
  commandTimeoutMs = 1_000
  /** How long each of the next waits for what the page cache holds takes; those after them are over at once. */
  readonly flushesMs: number[] = []
  /** How long a step of a long work (saving, copying, building) takes. */
  stepMs = 0
  /** How long a guest takes to boot or to shut down. */
  guestMs = 0

  #lastPid = 4_000

  constructor(clock: Clock) {
    this.clock = clock
  }

  /** The emulator of a VM. Throws when there is none: for tests that know that there is. */
  processOf(vmId: string): EmulatorProcess {
    const process = this.processes.get(vmId)
    if (!process) throw new RangeError(`The simulated machine has no emulator of VM ${vmId}.`)
    return process
  }

  nextPid(): number {
    return ++this.#lastPid
  }

  /** Adds to a log, of which the last megabyte is kept. */
  appendLog(vmId: string, source: 'emulator' | 'serial', bytes: Uint8Array): void {
    const log = this.logs.get(vmId) ?? { emulator: new Uint8Array(), serial: new Uint8Array() }
    const grown = Buffer.concat([log[source], bytes])
    this.logs.set(vmId, { ...log, [source]: grown.subarray(Math.max(0, grown.length - logBytes)) })
  }
}

const logBytes = 2 ** 20
