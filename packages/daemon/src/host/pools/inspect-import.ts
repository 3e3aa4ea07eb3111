/** What a file has to be before it becomes a volume of its pool. */
import { KvasirError } from '@kvasir/contract'
import type { PathSource } from '../../model/storage/volume-source.ts'
import type { VolumeKey } from '../../ports/pools.ts'
import { inspectLink } from './chain-check.ts'

/** The capacity of a file that is one whole disk of a format; `image-refused` for any other. */
export async function inspectImport(
  source: PathSource,
  { format, encryption }: Pick<VolumeKey, 'format' | 'encryption'>,
): Promise<number> {
  const { capacityBytes, backingFile, isEncrypted } = await inspectLink(source)
  const refuse = (why: string) =>
    new KvasirError('image-refused', `The file ${source.path} ${why}, so it is not imported.`, {
      details: { path: source.path, why },
    })
  if (isEncrypted !== (encryption !== undefined))
    throw refuse(isEncrypted ? 'is encrypted, and no secret was named' : 'is not encrypted')
  if (backingFile !== undefined) throw refuse(`lies on another file (${backingFile})`)
  if (format === 'raw' && (await isQcow2(source))) throw refuse('is a qcow2 image, not raw')
  if (capacityBytes === 0) throw refuse('is empty')
  if (capacityBytes % 512 !== 0) throw refuse('is no whole number of sectors')
  return capacityBytes
}

async function isQcow2(source: PathSource): Promise<boolean> {
  try {
    await inspectLink({ ...source, format: 'qcow2' })
    return true
  } catch (error) {
    if (error instanceof KvasirError && error.code === 'image-refused') return false
    throw error
  }
}
