/**
 * The ids that a VM's devices, block nodes and I/O threads have inside QEMU.
 *
 * A name of a user becomes part of an id only through here. QEMU's ids take letters, digits, dash, dot and underscore and begin
 * with a letter; a node name has at most 31 characters (QEMU: block_int.h, node_name[32]). Each id is a kind without a dash, a
 * dash, and the name, so that no two kinds can meet; a long name is cut and given a piece of its digest.
 */
import { createHash } from 'node:crypto'

/** The longest name that is used as it is. A shortened one has one character more, so the two never meet. */
const longestPlainName = 19
const digestLength = 8

/** What ids are made for. `base` nodes carry their place in the chain: `base1-root`. `card` is the place of a NIC on the root bus. */
export type DeviceKind =
  | 'disk'
  | 'nic'
  | 'scsi'
  | 'hba'
  | 'io'
  | 'file'
  | 'net'
  | 'host'
  | 'card'
  | 'fs'
  | 'channel'

/** The id of the memory of the boot; saved memory is found by it. */
export const memoryBackendId = 'memory'

/** The id of the memory of one NUMA node of the guest, where it has nodes. */
export function nodeBackendId(node: number): string {
  return `${memoryBackendId}${node}`
}

/** The ids of the memory of the boot: one, or one for each node of the guest. */
export function bootBackendIds(nodes: number | undefined): readonly string[] {
  return nodes === undefined
    ? [memoryBackendId]
    : Array.from({ length: nodes }, (_, node) => nodeBackendId(node))
}

/** The id of the virtio-mem device that memory is plugged into; its backend has it too, with `-ram`. */
export const plugMemoryId = 'plugmemory'
/** The id of the memory behind that device. */
export const plugBackendId = `${plugMemoryId}-ram`

/** A name as ids and short protocol fields carry it: at most 20 characters, and equal only for equal names. */
export function nameToken(name: string): string {
  if (name.length <= longestPlainName) return name
  const digest = createHash('sha256').update(name).digest('hex').slice(0, digestLength)
  return `${name.slice(0, longestPlainName - digestLength)}-${digest}`
}

/** The id of a device: `disk-root`, `nic-lan`, `io-root`. A disk's device and its top block node have the same id. */
export function deviceId(kind: DeviceKind, name: string): string {
  return `${kind}-${nameToken(name)}`
}

/** The block nodes of one member of a disk's chain: depth 0 is the top, `disk-root` on `file-root`; below it `base1-root`. */
export function chainNodes(disk: string, depth: number): { readonly format: string; readonly file: string } {
  const token = nameToken(disk)
  if (depth === 0) return { format: `disk-${token}`, file: `file-${token}` }
  return { format: `base${depth}-${token}`, file: `base${depth}file-${token}` }
}

/** The object with the secret of a block node: `sec.file-root` of the node `file-root`, so that it is the same disk's. */
export function secretObjectId(node: string): string {
  return `sec.${node}`
}

/** Whether an id is one of a secret's object. */
export function isSecretObject(id: string): boolean {
  return id.startsWith('sec.')
}

/** Whether an id is one of a disk's: every kind of it ends with the dash and the disk's name, and no kind has a dash. */
export function isOfDisk(id: string, disk: string): boolean {
  const dash = id.indexOf('-')
  return dash > 0 && id.slice(dash + 1) === nameToken(disk)
}
