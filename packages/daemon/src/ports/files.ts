/** Files that are the daemon's own and no volumes: saved memory, the memory of snapshots, seeds. */
export interface StateFiles {
  savePath(vmId: string): string
  seedPath(vmId: string): string
  /** Writes a NoCloud seed with mode 0600, replacing an older one. */
  writeSeed(vmId: string, content: Uint8Array): Promise<void>
  removeSeed(vmId: string): Promise<void>
  /** Publishes the partial save file of a VM: fsync, then rename. */
  commitSave(vmId: string): Promise<{ readonly sizeBytes: number }>
  partialSavePath(vmId: string): string
  /** Removes saved memory, whole or partial. */
  removeSave(vmId: string): Promise<void>
  listSaves(): Promise<readonly { readonly vmId: string; readonly partial: boolean }[]>
  /** Makes the partial save file of a VM the memory of a snapshot: fsync, then rename. */
  keepMemory(vmId: string, snapshotId: string): Promise<{ readonly sizeBytes: number }>
  /** Makes the memory of a snapshot the saved memory of a VM; the snapshot keeps it. */
  lendMemory(snapshotId: string, vmId: string): Promise<void>
  /** Removes the memory of a snapshot; no error when it has none. */
  removeMemory(snapshotId: string): Promise<void>
  /** Ids of snapshots that have memory, those of no row too. */
  listMemories(): Promise<readonly string[]>
  /** The variables of a UEFI, by an id that the daemon made. */
  nvramPath(id: string): string
  /** Makes variables of a template of the host, unless they are there; `host-failed` where that is not a small file. */
  ensureNvram(id: string, template: string): Promise<void>
  /** Copies variables as they are at this moment; `host-failed` where there are none. Replaces what is there. */
  copyNvram(fromId: string, toId: string): Promise<void>
  /** Removes variables; no error when there are none. */
  removeNvram(id: string): Promise<void>
  listNvrams(): Promise<readonly string[]>
  /** Where what an emulator noted of a volume is put away, by the volume's id. */
  notesPath(volumeId: string): string
  /** Makes that file, empty; `not-enough-space` where so many bytes do not fit into it. */
  makeNotes(volumeId: string, mostBytes: number): Promise<void>
  /** Removes what was put away; no error when there is nothing. */
  removeNotes(volumeId: string): Promise<void>
  listNotes(): Promise<readonly string[]>
  /** Where the state of a VM's TPM lies. */
  tpmDirectory(vmId: string): string
  /** Makes that directory, or lets this user go on with it, and nobody else. */
  ensureTpm(vmId: string, uid: number): Promise<void>
  /** Removes the state of a TPM; no error when there is none. */
  removeTpm(vmId: string): Promise<void>
  listTpms(): Promise<readonly string[]>
  listSeeds(): Promise<readonly string[]>
  freeBytes(): Promise<number>
  /** Whether the file systems under images and the default pool take O_DIRECT; tmpfs before Linux 6.6 does not. */
  readonly directIo: boolean
}
