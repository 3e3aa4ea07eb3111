/** What pools are made of, type by type, as their rows remember it. A secret is named by its id, in `secretId`. */
import type { CephPlace } from '../model/storage/ceph-place.ts'

/** What a pool is made of. */
export type PoolSource =
  /** A folder of the host; without a path, the daemon's own below the state directory. */
  | { readonly type: 'dir'; readonly path: string | undefined }
  | LvmSource
  | LvmThinSource
  | NfsSource
  | IscsiSource
  | RbdSource

/** A volume group of LVM. */
export interface LvmSource {
  readonly type: 'lvm'
  readonly vg: string
  /** What it is made of when there is none of this name. */
  readonly devices: readonly string[]
}

/** A thin pool of LVM. */
export interface LvmThinSource {
  readonly type: 'lvm-thin'
  readonly vg: string
  readonly devices: readonly string[]
  readonly thinPool: string
  /** What it is made with when there is none of this name. */
  readonly sizeBytes: number | undefined
}

/** A target of iSCSI, whose LUNs are its volumes. */
export interface IscsiSource {
  readonly type: 'iscsi'
  /** An address or a name. */
  readonly server: string
  readonly port: number
  readonly target: string
  readonly initiator: string
  /** Who proves to the target who asks, where it wants that. */
  readonly user: string | undefined
  readonly secretId: string | undefined
}

/** The RBD images of a Ceph pool. */
export interface RbdSource extends CephPlace {
  readonly type: 'rbd'
}

/** An export of an NFS server, which is mounted, or spoken to by QEMU itself. */
export interface NfsSource {
  readonly type: 'nfs'
  /** An address or a name. */
  readonly server: string
  readonly export: string
  readonly direct: boolean
}

/** What others made, taken for a volume that it is not yet. */
export interface TakenFile {
  readonly file: string
  readonly before: readonly string[]
}
