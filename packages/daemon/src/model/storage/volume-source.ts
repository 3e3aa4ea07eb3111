/** Where QEMU finds what one member of a chain holds. Made by the backend of its pool, turned into a block node by model/qemu. */
import { KvasirError } from '@kvasir/contract'
import type { Reach } from './reach.ts'
import type { SecretUse } from './secret-use.ts'

/** What is encrypted (LUKS) is only opened with the passphrase that a secret is. */
interface Encryptable {
  readonly encryption?: { readonly secretId: string } | undefined
}

/** A regular file of the host. */
export interface FileSource extends Encryptable {
  readonly kind?: 'file'
  readonly path: string
  readonly format: 'qcow2' | 'raw'
  /** It lies on what may hang or be changed by others, so it is opened with a deadline and not through links. */
  readonly guarded?: boolean
}

/** A block device of the host. */
export interface DeviceSource extends Encryptable {
  readonly kind: 'device'
  readonly path: string
  readonly format: 'qcow2' | 'raw'
}

/** A value of an option of a block driver. */
export type OptionValue =
  | string
  | number
  | boolean
  | null
  | undefined
  | readonly OptionValue[]
  | { readonly [key: string]: OptionValue }

/** Storage that QEMU itself speaks to; `options` are those of its block driver, but for `driver` and `node-name`. */
export interface ProtocolSource extends Encryptable {
  readonly kind: 'protocol'
  readonly driver: 'rbd' | 'nfs' | 'iscsi'
  readonly options: { readonly [name: string]: OptionValue }
  /** What proves who asks; `option` is the option of the driver that names its object, such as `key-secret`. */
  readonly secret?: SecretUse & { readonly option: string }
  readonly format: 'qcow2' | 'raw'
  /** The servers that it lies on: who opens it may connect to these, and to nothing else. */
  readonly reach: readonly Reach[]
}

/** Whether LUKS lies around what is raw, so that its first bytes are a header. */
export function isEncryptedRaw({ format, encryption }: Pick<VolumeSource, 'format' | 'encryption'>): boolean {
  return format === 'raw' && encryption !== undefined
}

export type VolumeSource = FileSource | DeviceSource | ProtocolSource

/** A source that is a path of the host. */
export type PathSource = FileSource | DeviceSource

/** What a source is, wherever its server is reached just now: a path, or a word for storage on a server. */
export function groundName(source: VolumeSource): string {
  return source.kind === 'protocol' ? (protocolGround(source) ?? source.driver) : source.path
}

/** The same by the options of a block driver; undefined for a driver that no layers are laid over. */
export function protocolGround({ driver, options }: Protocol): string | undefined {
  if (driver === 'iscsi') return `iscsi:${word(options['target'])}/${word(options['lun'])}`
  return driver === 'nfs' ? `nfs:${word(options['path'])}` : undefined
}

/**
 * What the header of an overlay calls its base: what QEMU's tools understand, also where they are told the base besides. QEMU's client of NFS
 * takes no URI beside its options (QEMU 7.2, block/nfs.c: nfs_has_filename_options_conflict), so those are the name. No secret is in it.
 */
export function headerName(source: VolumeSource): string {
  if (source.kind !== 'protocol') return source.path
  const { driver, options, format } = source
  const { portal, target, lun } = options
  if (driver === 'iscsi') return `iscsi://${word(portal)}/${word(target)}/${word(lun)}`
  return `json:${JSON.stringify({ driver: format, file: { driver, ...options } })}`
}

function word(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}

interface Protocol {
  readonly driver: string
  readonly options: { readonly [name: string]: unknown }
}

/** A source as one that has a path. `unsupported` for storage that only QEMU speaks to. */
export function pathSource(source: VolumeSource): PathSource {
  if (source.kind !== 'protocol') return source
  throw new KvasirError(
    'unsupported',
    `What lies on ${source.driver} has no file on this host, so this does not go.`,
  )
}
