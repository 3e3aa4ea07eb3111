/** A chain as a tool in the jail is to open it: which files, servers and secrets it gets, and a block node that spells out all of them. */
import type { Reach } from '../../model/storage/reach.ts'
import type { SecretObject } from '../../model/storage/secret-use.ts'
import { isEncryptedRaw, type OptionValue, type VolumeSource } from '../../model/storage/volume-source.ts'

/** What a request to the jail says of a chain. */
export interface JailedChain {
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  /** Those of both that are block devices. */
  readonly devices: readonly string[]
  readonly reach: readonly Reach[]
  readonly secrets: readonly SecretObject[]
}

/**
 * The chain, top first, and its top as `qemu-img` takes it for a file name; `below` are those of its other members, each with what it
 * lies on. With `write` the top can be written, with `write-all` the others too; `look` locks nothing. What the tool gets for another chain too is counted from there.
 */
export function jailedChain(
  chain: readonly VolumeSource[],
  access: 'read' | 'write' | 'write-all' | 'look',
  other?: JailedChain,
): { readonly request: JailedChain; readonly file: string; readonly below: readonly string[] } {
  const inputs = [...(other?.inputs ?? [])]
  const outputs = [...(other?.outputs ?? [])]
  const devices = [...(other?.devices ?? [])]
  const secrets: SecretObject[] = [...(other?.secrets ?? [])]
  const reach: Reach[] = [...(other?.reach ?? [])]

  const storage = (source: VolumeSource, place: number): Record<string, OptionValue> => {
    if (source.kind === 'protocol') {
      const { driver, options, secret } = source
      reach.push(...source.reach)
      if (secret === undefined) return { driver, ...options }
      const object = `secret${secrets.length}`
      secrets.push({ object, secretId: secret.secretId, format: secret.format })
      return { driver, ...options, [secret.option]: object }
    }
    const isWritten = access === 'write-all' || (access === 'write' && place === 0)
    const list = isWritten ? outputs : inputs
    list.push(source.path)
    if (source.kind === 'device') devices.push(source.path)
    const filename = `/${isWritten ? 'out' : 'in'}/${list.length - 1}`
    const driver = source.kind === 'device' ? 'host_device' : 'file'
    return { driver, filename, ...(access === 'look' ? { locking: 'off' } : {}) }
  }
  const formatOptions = (source: VolumeSource): Record<string, OptionValue> => {
    const { encryption, format: driver } = source
    if (encryption === undefined) return { driver }
    const object = `secret${secrets.length}`
    secrets.push({ object, secretId: encryption.secretId, format: 'raw' })
    if (isEncryptedRaw(source)) return { driver: 'luks', 'key-secret': object }
    return { driver, encrypt: { format: 'luks', 'key-secret': object } }
  }
  const members = chain.map((source, place) => {
    // A base is opened to read unless told, and QEMU's client of NFS does not change that afterwards (QEMU 7.2, block/nfs.c: nfs_reopen_prepare).
    const isLow = access === 'write-all' && place > 0 && source.kind === 'protocol'
    const written = isLow ? { 'read-only': false } : {}
    const file = { ...storage(source, place), ...written }
    return { ...formatOptions(source), ...written, file }
  })
  // With `backing` said, no header has a say in what is opened.
  const nodes: OptionValue[] = []
  for (const node of members.toReversed())
    nodes.unshift(Reflect.get(node, 'driver') === 'qcow2' ? { ...node, backing: nodes[0] ?? null } : node)
  const [file = 'json:null', ...below] = nodes.map((node) => `json:${JSON.stringify(node)}`)
  return { request: { inputs, outputs, devices, reach, secrets }, file, below }
}

/** What a chain lies on, in words for errors. */
export function placeOf([top]: readonly VolumeSource[]): string {
  if (top === undefined) return 'nothing'
  return top.kind === 'protocol' ? top.driver : top.path
}
