/**
 * The store: what must be known after a restart. All calls are synchronous and each is one transaction, or part of the one that
 * `transaction` opened. A failed write throws `store-unwritable` and changes nothing.
 *
 * A row that cannot be read back is `damaged`, never absent: the VM it stands for may be running.
 */
import type { Event, EventKind, Job, Problem, VmSpec, VmState } from '@kvasir/contract'
import type { NetworkSpec } from '../model/network/network-record.ts'
import type { StoredPlan } from '../model/placement/keep-plan.ts'
import type { Hardware } from '../model/qemu/hardware.ts'
import type { LimitFiles } from '../model/vm/limit-files.ts'
import type { CheckpointRecord } from './checkpoint-record.ts'
import type { EmulatorRecord } from './emulators.ts'
import type { PoolSource, TakenFile } from './pool-source.ts'
import type { SnapshotRecord } from './snapshot-record.ts'
import type { VolumeRecord } from './volume-record.ts'

export type { CheckpointRecord } from './checkpoint-record.ts'
export type { VolumeMove, VolumeRecord, VolumeUpload, VolumeWork } from './volume-record.ts'

/** What was last known of a VM's life. */
export interface VmLife {
  readonly state: VmState
  readonly reason: string
  readonly since: string
  readonly exit?: { readonly code?: number; readonly signal?: string; readonly log: string }
}

/** What belongs to one run of a VM. */
export interface VmRun {
  readonly emulator: EmulatorRecord
  readonly accelerator: 'kvm' | 'tcg'
  readonly acceleratorReason: string
  /** The spec that was booted, with the vCPUs, disks and NICs that there are now; the difference to the spec of now waits for the next boot. */
  readonly bootedSpec: VmSpec
  /** The hardware that was booted, with the disks and NICs that there are now; the oldest rows lack it. */
  readonly bootedHardware?: Hardware | undefined
  /** Its threads were given something after its start; kept when that is taken back. */
  readonly tuned?: boolean
  /** The limits that were written last to its cgroup, by file; absent while they are written, and where a former version wrote them. */
  readonly limits?: LimitFiles | undefined
  /** How many vCPUs it shall have while it runs, for as long as that is worked on. */
  readonly vcpuTarget?: number | undefined
  /** Names of disks that come or go, for as long as that is worked on: those of the spec are plugged, others taken away. */
  readonly movingDisks?: readonly string[] | undefined
  /** The same of NICs; those that the emulator and the spec have are on their way to another network. */
  readonly movingNics?: readonly string[] | undefined
  /** The same of devices of the host. */
  readonly movingHostDevices?: readonly string[] | undefined
  /** The same of channels. */
  readonly movingChannels?: readonly string[] | undefined
  /** The same of shares. */
  readonly movingShares?: readonly string[] | undefined
  /** The same of small devices. */
  readonly movingDevices?: readonly string[] | undefined
  /** Devices whose process on the host has ended, which is not started again while the emulator runs. */
  readonly lost?: readonly LostDevice[] | undefined
}

/** A device that the guest sees and nobody serves any more: `tpm`, or a NIC as `nics.lan`. */
export interface LostDevice {
  readonly device: string
  readonly since: string
}

/** Memory that was saved. */
export interface SavedMemory {
  readonly sizeBytes: number
  readonly at: string
  /** What it was saved with, where the record already says something else for the next boot. Memory fits only that. */
  readonly booted?: { readonly spec: VmSpec; readonly hardware: Hardware } | undefined
}

/**
 * A VM's row. `phase` is the journal: `creating` rows are undone by recovery, `deleting` rows are finished.
 * `intent` is the action under way, by which recovery tells what an interrupted state meant: `stop` and `reboot` were asked of the
 * guest; `end` and `end-crashed` cut its power, after which the VM is shut off or crashed; `restart` ends it to start it again.
 */
export interface VmRecord {
  readonly id: string
  readonly name: string
  readonly revision: number
  readonly createdAt: string
  readonly phase: 'creating' | 'ready' | 'deleting'
  readonly intent:
    | 'none'
    | 'start'
    | 'stop'
    | 'reboot'
    | 'save'
    | 'save-paused'
    | 'end'
    | 'end-crashed'
    | 'restart'
  readonly uid: number
  readonly spec: VmSpec
  readonly hardware: Hardware
  /** Where its last start placed it; it holds its CPUs while it is not off. Absent for a VM that is not placed. */
  readonly placement?: StoredPlan | undefined
  /** Why its placement could not be read. Until it was read back from its threads, nobody knows its CPUs. */
  readonly placementLost?: string | undefined
  readonly life: VmLife
  /** The life before the start that is under way, to which the VM goes back when that comes to nothing. */
  readonly lifeBeforeStart?: VmLife | undefined
  /** How many starts by itself were begun since it was to be started again (intent `restart`); none of them was seen to end. */
  readonly restartsBegun?: number | undefined
  readonly run: VmRun | undefined
  /** Oldest first; absent for a VM that never had one. */
  readonly checkpoints?: readonly CheckpointRecord[] | undefined
  readonly saved: SavedMemory | undefined
  /** The variables of its UEFI, from its first start on, and the image that they fit. */
  readonly nvram?: { readonly id: string; readonly executable: string } | undefined
}

export interface DamagedVm {
  readonly kind: 'damaged'
  readonly id: string
  /** The name where it could still be read. */
  readonly name: string | undefined
  readonly reason: string
}

export type VmRow = { readonly kind: 'vm'; readonly record: VmRecord } | DamagedVm

/** A pool's row. `phase` is the journal: a `creating` pool is undone by recovery, a `deleting` one is finished when it answers. */
export interface PoolRecord {
  readonly id: string
  readonly name: string
  readonly source: PoolSource
  /** Started with the daemon. */
  /** The name of the pool of files that takes layers of its volumes, where it has none itself; the default one when it is not said. */
  readonly layersIn?: string | undefined
  readonly autostart: boolean
  /** It was started, and not stopped since. */
  readonly started: boolean
  /** The boot of the host that `started` is about: in another one, `autostart` says. */
  readonly bootId: string
  readonly phase: 'creating' | 'ready' | 'deleting'
  /** What is deleted with it: its volumes too, or nothing that lies in it. */
  readonly removesData: boolean
  /** What lies in it and is looked at, to become a volume: how it was before. Given back where it becomes none, by the next daemon if need be. */
  readonly taken?: readonly TakenFile[] | undefined
  readonly createdAt: string
}

/** A secret's row; what it is lies in a file (ports/secrets.ts). `phase` is the journal: `creating` and `deleting` ones are removed by recovery. */
export interface SecretRecord {
  readonly id: string
  readonly name: string
  /** `changing`: its file is one or the other, and nothing is made with it meanwhile. */
  readonly phase: 'creating' | 'ready' | 'changing' | 'deleting'
  readonly createdAt: string
}

/** A network's row. `phase` is the journal: a `creating` network is undone by recovery, a `deleting` one is finished. */
export interface NetworkRecord extends NetworkSpec {
  /** Started with the daemon. */
  readonly autostart: boolean
  /** It was started, and not stopped since. */
  readonly started: boolean
  /** The boot of the host that `started` is about: in another one, `autostart` says. */
  readonly bootId: string
  readonly phase: 'creating' | 'ready' | 'deleting'
  readonly createdAt: string
}

export interface ImageRow {
  readonly id: string
  readonly name: string
}

export interface IdempotentAnswer {
  readonly requestHash: string
  readonly status: number
  readonly body: string
}

/**
 * What a transaction outlives. `host`, the default: a power cut; it waits for the disk. `daemon`: a kill, for what means nothing once the
 * host has gone down; it waits for nothing, is never on the disk before what was written earlier, and is there with the next that waits.
 */
export interface Durability {
  readonly outlives: 'host' | 'daemon'
}

/** Of what a host that has gone down leaves nothing: that a VM starts, or runs. */
export const ofThisBoot: Durability = { outlives: 'daemon' }

export interface Store {
  /** Runs `work` as one transaction; an exception rolls all of it back. Calls may nest: the outermost one commits, and says what it outlives. */
  transaction<T>(work: () => T, options?: Durability): T
  readonly vms: {
    list(): readonly VmRow[]
    get(id: string): VmRow | undefined
    /** By name, without regard to phase. */
    findByName(name: string): VmRow | undefined
    /** `name-taken` when the name is in use. */
    insert(record: VmRecord): void
    /** Writes the whole row; `revision-mismatch` when `expectedRevision` is given and differs from the stored one. */
    update(record: VmRecord, expectedRevision?: number): void
    remove(id: string): void
    /** The newest older copy of a damaged row that can still be read, but for its life and run. */
    lastGood(id: string): VmRecord | undefined
  }
  readonly volumes: {
    list(): readonly VolumeRecord[]
    get(id: string): VolumeRecord | undefined
    find(pool: string, name: string): VolumeRecord | undefined
    insert(record: VolumeRecord): void
    /** Writes the whole row; `notesOf` it can only take away. */
    update(record: VolumeRecord): void
    /** Of which VM there are notes of a volume, if any. No error for one that is gone. */
    setNotesOf(id: string, vmId: string | undefined): void
    remove(id: string): void
    /** Called when an update or a removal has taken notes away, so that the file of them can go. */
    onNotesLost(listener: (id: string) => void): void
  }
  readonly snapshots: {
    /** Oldest first. */
    list(): readonly SnapshotRecord[]
    ofVm(vmId: string): readonly SnapshotRecord[]
    get(id: string): SnapshotRecord | undefined
    /** `name-taken` when the VM has one of that name. */
    insert(record: SnapshotRecord): void
    update(record: SnapshotRecord): void
    remove(id: string): void
  }
  readonly pools: {
    list(): readonly PoolRecord[]
    get(id: string): PoolRecord | undefined
    findByName(name: string): PoolRecord | undefined
    /** `name-taken` when the name is in use. */
    insert(record: PoolRecord): void
    update(record: PoolRecord): void
    remove(id: string): void
  }
  readonly secrets: {
    list(): readonly SecretRecord[]
    get(id: string): SecretRecord | undefined
    findByName(name: string): SecretRecord | undefined
    /** `name-taken` when the name is in use. */
    insert(record: SecretRecord): void
    update(record: SecretRecord): void
    remove(id: string): void
  }
  readonly networks: {
    list(): readonly NetworkRecord[]
    get(id: string): NetworkRecord | undefined
    findByName(name: string): NetworkRecord | undefined
    /** `name-taken` when the name is in use. */
    insert(record: NetworkRecord): void
    update(record: NetworkRecord): void
    remove(id: string): void
  }
  /** Names of images; their files describe themselves. */
  readonly imageNames: {
    list(): readonly ImageRow[]
    set(id: string, name: string): void
    remove(id: string): void
  }
  readonly jobs: {
    list(limit: number): readonly Job[]
    get(id: string): Job | undefined
    put(job: Job): void
    /** Ends all jobs that a former daemon left running. */
    endAbandoned(at: string, error: Problem): readonly Job[]
  }
  readonly events: {
    append(event: {
      readonly kind: EventKind
      readonly subject: string
      readonly at: string
      readonly data: Record<string, unknown>
    }): Event
    read(after: number, limit: number): readonly Event[]
    /** The lowest and highest number that is kept; 0 and 0 when there is none. */
    range(): { readonly oldest: number; readonly latest: number }
  }
  readonly uids: {
    /** Gives out a pair of UIDs that no VM has and that was not used since the host booted. */
    allocate(vmId: string, bootId: string): number
    release(vmId: string, bootId: string): void
    list(): readonly { readonly uid: number; readonly vmId: string | undefined }[]
  }
  readonly idempotency: {
    find(key: string): IdempotentAnswer | undefined
    /** Remembers an answer for a day. */
    remember(key: string, answer: IdempotentAnswer, at: string): void
    /** Forgets the answer that names a job, so that whoever asks for it again begins another. */
    forgetJob(jobId: string): void
  }
  close(): void
}
