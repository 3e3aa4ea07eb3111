/**
 * A checkpoint of a VM. Whether its bitmaps are whole says the emulator alone. `creating` ones are dropped by recovery; bitmaps of none are
 * removed when a running VM's checkpoints are next worked on.
 */
export interface CheckpointRecord {
  readonly id: string
  readonly name: string
  readonly description: string
  readonly createdAt: string
  readonly phase: 'creating' | 'ready'
  /** The names of the disks that it is about. */
  readonly disks: readonly string[]
}
