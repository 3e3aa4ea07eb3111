/**
 * What a copy of a disk lies on, opened in a running QEMU for reading: layers that were copied before. Their nodes are named after the
 * copy and their place under it, so that they are found again whoever opened them.
 */
import type { QmpClient } from '@kvasir/qmp'
import { volumeNode } from '../../model/qemu/volume-node.ts'
import type { VolumeSource } from '../../model/storage/volume-source.ts'
import type { LayerOptions } from '../../ports/emulator-blocks.ts'
import type { SecretValues } from '../files/secret-files.ts'
import { keyTimeoutMs, withSecret } from './hand-secrets.ts'
import { formatNode, layerKey, layerNames } from './layer-nodes.ts'
import { passFile, takeFileBack } from './pass-file.ts'

/** A chain has fewer members. */
const mostBelow = 100

/** Opens what a copy lies on, the nearest first; answers the node of that one, null where it lies on nothing. */
export async function openBelow(
  monitor: QmpClient,
  {
    id,
    below,
    options,
  }: { readonly id: string; readonly below: readonly VolumeSource[]; readonly options: LayerOptions },
  { user, secrets }: { readonly user: number; readonly secrets: SecretValues },
): Promise<string | null> {
  let backing: string | null = null
  for (const [depth, source] of [...below.entries()].toReversed()) {
    const names = belowNames(id, depth)
    const cache = { direct: options.direct, 'no-flush': options.noFlush }
    const shared = { 'read-only': true, discard: options.discard, cache }
    const node = volumeNode(source, { name: names.file, readOnly: true, direct: options.direct, shared })
    const filename =
      node.file === undefined
        ? {}
        : { filename: await passFile(monitor, { file: node.file, label: names.file, user }) }
    // What the model planned is what QEMU's introspection names; its types are those of one version of it.
    await withSecret(monitor, node.secret, {
      values: secrets,
      open: () => monitor.executeUntyped('blockdev-add', { ...node.options, ...filename }),
    })
    const driver = source.format
    const own: LayerOptions = { ...options, encryption: source.encryption }
    const format = formatNode(names.format, {
      driver,
      file: names.file,
      backing,
      readOnly: true,
      options: own,
    })
    await withSecret(monitor, layerKey(names.format, own), {
      values: secrets,
      open: () => monitor.execute('blockdev-add', format, { timeoutMs: keyTimeoutMs }),
    })
    backing = names.format
  }
  return backing
}

/** The node that a copy lies on, if it does. */
export function nodeBelow(
  id: string,
  nodes: readonly { readonly 'node-name'?: string | undefined }[],
): string | null {
  const { format } = belowNames(id, 0)
  return nodes.some((node) => node['node-name'] === format) ? format : null
}

/** Closes what a copy lay on, which is closed already. */
export async function forgetBelow(monitor: QmpClient, id: string): Promise<void> {
  const nodes = await monitor.execute('query-named-block-nodes', { flat: true })
  const known = new Set(nodes.map((node) => node['node-name']))
  for (let depth = 0; depth < mostBelow; depth++) {
    const names = belowNames(id, depth)
    if (!known.has(names.format) && !known.has(names.file)) continue // They are opened from the deepest up.
    if (known.has(names.format)) await monitor.execute('blockdev-del', { 'node-name': names.format })
    if (known.has(names.file)) await monitor.execute('blockdev-del', { 'node-name': names.file })
    await takeFileBack(monitor, names.file)
  }
}

/** A node's name has at most 31 characters. */
function belowNames(id: string, depth: number): { readonly format: string; readonly file: string } {
  const own = layerNames(id)
  return { format: `${own.format}-${depth}`, file: `${own.file}-${depth}` }
}
