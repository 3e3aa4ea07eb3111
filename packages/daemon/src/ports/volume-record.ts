/** A volume's row: what it is, what is being done to it, and how far an upload or a move is. Rows of the store (store.ts). */

/** Something that is done to a volume, under way for as long as its row says so. */
export type VolumeWork =
  | 'resized'
  | 'cloned'
  | 'converted'
  | 'checked'
  | 'repaired'
  | 'wiped'
  | 'moved'
  | 'flattened'
  | 'downloaded'
  | 'uploaded'
  | 'exported'
  | 'filled'

/**
 * What a volume is to become that a disk moves to while its VM runs. The volume is `creating` while it is filled, and `ready` from the
 * moment in which the disk is on it; from then on until this is gone, only the emulator can say that the disk did not go over.
 */
export interface VolumeMove {
  readonly vmId: string
  /** The name of the disk. */
  readonly disk: string
  /** The id of the volume that the disk leaves. */
  readonly fromId: string
  /** The former volume stays. */
  readonly keep: boolean
  /**
   * The volume was there before and stays, whatever becomes of the move: its work is `filled` until the disk is on it, and its phase
   * says nothing of the move.
   */
  readonly into?: boolean | undefined
  /** Of one that was there before: it is to be let go of. */
  readonly isGivenUp?: boolean | undefined
  /** Of a copy of a layer under the disk: the id of the copy of the disk itself, with which it comes and goes. */
  readonly layerOf?: string | undefined
  /**
   * In a pool with snapshots of its own: the id of the copy of the layer below, of which this is made as a clone before it gets what is
   * its own.
   */
  readonly clonesId?: string | undefined
  /** The disk stays where it is, and the volume becomes what it was at one instant. */
  readonly exports?: boolean | undefined
  /** It takes in what the guest overwrites of a disk that is kept as it was, and goes with that. */
  readonly scratch?: boolean | undefined
}

/** How far an upload is. */
export interface VolumeUpload {
  /** Of what is sent: the contents, or a file of a format. */
  readonly format: 'qcow2' | 'raw'
  readonly sizeBytes: number
  /** So much of it is on the disk. */
  readonly offsetBytes: number
  /** All of it is, and from here on the volume is still to be cleared. */
  readonly restFrom?: number | undefined
  readonly fingerprint?: string | undefined
  /** When it is given up; never for a volume that was there before. */
  readonly expiresAt?: string | undefined
}

export interface VolumeRecord {
  readonly id: string
  /** Unique in its pool. */
  readonly name: string
  /** The name of its pool. */
  readonly pool: string
  /** The name of the pool of files that it lies in, where its own has no layers: it is one over a volume of that. */
  readonly liesIn?: string | undefined
  /** The name of its file, where that does not follow from its id: it was imported in place. */
  readonly file?: string | undefined
  readonly format: 'qcow2' | 'raw'
  readonly capacityBytes: number
  /** It is encrypted (LUKS). */
  readonly encryption?: { readonly secretId: string } | undefined
  /** The image it is an overlay of. */
  readonly imageId: string | undefined
  /** The volume it is an overlay of. */
  readonly baseId: string | undefined
  /** The volume that it is a linked clone of, whose data its pool still reads for it. */
  readonly originId?: string | undefined
  /** The volume that it was made of as a linked clone, without needing it. */
  readonly clonedFromId?: string | undefined
  /** What is being done to it, so that nothing else is begun; and what recovery has to look at. */
  readonly work?: VolumeWork | undefined
  /** A disk that runs is on its way to it. */
  readonly move?: VolumeMove | undefined
  /** `uploading` ones stay after the end of a daemon, so that an upload can go on; nobody uses them before they are `ready`. */
  readonly phase: 'creating' | 'uploading' | 'ready' | 'deleting'
  /** Of one that is `uploading`. */
  readonly upload?: VolumeUpload | undefined
  /**
   * The id of the VM whose emulator put away what its checkpoints had noted of this volume; nothing has written to it since. It goes with
   * whatever lets somebody write (store/volumes.ts), and is set by `Store.volumes.setNotesOf` alone.
   */
  readonly notesOf?: string | undefined
  /** Nobody writes to it any more: it is the common base of linked clones, and goes when the last of them goes. */
  readonly frozen: boolean
  /** The VM that it was made for, which takes it along when creating it is undone. */
  readonly madeForVm: string | undefined
  readonly createdAt: string
}
