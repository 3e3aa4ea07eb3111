/**
 * The two nodes of one layer, as QEMU is told of them while it runs. Those of the start are named after their place in the chain
 * (model/qemu/disk.ts), which changes; these after their volume.
 */
import type { BlockdevAddArguments } from '@kvasir/qmp'
import { secretObjectId } from '../../model/qemu/ids.ts'
import type { SecretObject } from '../../model/storage/secret-use.ts'
import type { LayerOptions } from '../../ports/emulator-blocks.ts'

/** The names of the nodes of a volume; a node's name has at most 31 characters. `turn` tells those apart that open it anew. */
export function layerNames(id: string, turn = 0): { readonly format: string; readonly file: string } {
  const short = id.replaceAll('-', '').slice(0, 20)
  return { format: `layer-${short}`, file: `lfile${turn}-${short}` }
}

/** The node of a file that was passed as `fileName`. */
export function fileNode(
  name: string,
  { fileName, readOnly, options }: NodeOptions & { readonly fileName: string },
): BlockdevAddArguments {
  const aio = options.aio === undefined ? {} : { aio: options.aio }
  return { driver: 'file', 'node-name': name, filename: fileName, ...aio, ...shared({ readOnly, options }) }
}

/** The node of a format on top of its file's node. */
export function formatNode(
  name: string,
  {
    driver,
    file,
    backing,
    sizeBytes,
    ...rest
  }: NodeOptions & {
    readonly driver: 'qcow2' | 'raw'
    readonly file: string
    readonly backing: string | null
    /** Of a raw one: so much of its file, from the beginning; all of it unless said. */
    readonly sizeBytes?: number | undefined
  },
): BlockdevAddArguments {
  const { readOnly, options } = rest
  const zeroes =
    readOnly || options.detectZeroes === undefined ? {} : { 'detect-zeroes': options.detectZeroes }
  const common = { 'node-name': name, file, ...zeroes, ...shared(rest) }
  const key = layerKey(name, options)
  if (driver === 'raw')
    return key
      ? { driver: 'luks', 'key-secret': key.object, ...common }
      : { driver, ...common, ...(sizeBytes === undefined ? {} : { size: sizeBytes }) }
  const encrypt = key ? { encrypt: { format: 'luks' as const, 'key-secret': key.object } } : {}
  return { driver, backing, ...common, ...encrypt }
}

/** What opens the node of a format that is encrypted. */
export function layerKey(name: string, { encryption }: LayerOptions): SecretObject | undefined {
  return encryption && { object: secretObjectId(name), secretId: encryption.secretId, format: 'raw' }
}

interface NodeOptions {
  readonly readOnly: boolean
  readonly options: LayerOptions
}

function shared({ readOnly, options }: NodeOptions) {
  return {
    'read-only': readOnly,
    discard: options.discard,
    cache: { direct: options.direct, 'no-flush': options.noFlush },
  }
}
