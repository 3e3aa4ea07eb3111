/**
 * The lowest node of a member of a chain: what holds its bytes. A file and a block device come as open descriptors, so that QEMU names
 * nothing of the host; storage on a network is spoken to by QEMU itself (docs of qemu-system: `-blockdev`).
 */
import type { ProtocolSource, VolumeSource } from '../storage/volume-source.ts'
import type { BlockNode, QemuOptions } from './disk-plan.ts'
import { secretObjectId } from './ids.ts'

interface NodeAsked {
  readonly name: string
  readonly readOnly: boolean
  /** Past the page cache. */
  readonly direct: boolean
  /** What carries requests to the host; undefined is QEMU's own choice. */
  readonly aio?: string | undefined
  /** What all nodes of the disk have. */
  readonly shared: QemuOptions
}

/** The node of a source. */
export function volumeNode(
  source: VolumeSource,
  { name, readOnly, direct, aio, shared }: NodeAsked,
): BlockNode {
  if (source.kind === 'protocol') return protocolNode(source, { name, shared })
  const access = readOnly ? 'read' : 'read-write'
  const isDevice = source.kind === 'device'
  const isGuarded = isDevice || source.guarded === true
  return {
    file: {
      kind: 'file',
      path: source.path,
      access,
      direct,
      ...(isGuarded ? { guarded: true as const } : {}),
      ...(isDevice ? { device: true as const } : {}),
    },
    options: {
      driver: isDevice ? 'host_device' : 'file',
      'node-name': name,
      filename: '',
      aio,
      ...shared,
    },
  }
}

function protocolNode(
  source: ProtocolSource,
  { name, shared }: Pick<NodeAsked, 'name' | 'shared'>,
): BlockNode {
  const options = { driver: source.driver, 'node-name': name, ...source.options }
  if (source.secret === undefined) return { file: undefined, options: { ...options, ...shared } }
  const { option, ...use } = source.secret
  const object = secretObjectId(name)
  return {
    file: undefined,
    secret: { ...use, object },
    options: { ...options, [option]: object, ...shared },
  }
}
