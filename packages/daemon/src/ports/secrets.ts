/**
 * What secrets are: a file each, of mode 0600, below the state directory. Use-cases put one there and take it away; what it is reads
 * nobody but the adapters that hand it to QEMU or to a tool, so that no answer, row, event or log can ever hold it.
 */

export interface SecretFiles {
  /** Keeps a secret; on the disk when it returns. */
  write(id: string, value: string): Promise<void>
  /** Makes one of 256 random bits and keeps it. */
  generate(id: string): Promise<void>
  /** No error when there is none. */
  remove(id: string): Promise<void>
}
