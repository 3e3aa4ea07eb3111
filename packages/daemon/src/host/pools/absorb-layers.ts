/**
 * Layers merged into the volume above them, while nobody has it open: `qemu-img rebase` in the jail.
 *
 * In the jail files have other names, so the base that the header is to name is written afterwards. What a death leaves in between is a
 * volume that holds more than it must, and a header that names another base than the store has: `nameBase` mends that, and then it can
 * be done again.
 */
import { KvasirError } from '@kvasir/contract'
import { headerName, type PathSource, type VolumeSource } from '../../model/storage/volume-source.ts'
import type { JailedToolResult, JailedTools } from '../../ports/jailed-tools.ts'
import { isWrongSecret, wrongSecret } from './encrypted-qcow2.ts'
import { jailedChain, placeOf } from './jailed-chain.ts'
import { parseProgress } from './qemu-img.ts'

const NAME_TIMEOUT_MS = 30_000
const COPY_TIMEOUT_MS = 24 * 3600 * 1000

interface Work {
  readonly jailed: JailedTools
  readonly signal: AbortSignal
  /** Most bytes that the volume may have. */
  readonly fileSizeBytes: number
}

/** Writes the base into the header of a volume; nothing else of it is read. */
export async function nameBase(
  volume: PathSource,
  base: VolumeSource | undefined,
  work: Work,
): Promise<void> {
  const named = base === undefined ? ['-b', ''] : ['-b', headerName(base), '-F', base.format]
  const { request, file } = jailedChain([volume], 'write')
  const result = await work.jailed.run(
    {
      tool: 'qemu-img',
      args: ['rebase', '-u', ...named, '--', file],
      ...request,
      timeoutMs: NAME_TIMEOUT_MS,
      fileSizeBytes: work.fileSizeBytes,
    },
    work.signal,
  )
  if (result.exitCode !== 0) throw mergeError(volume.path, result)
}

/** Copies into the first of a chain what the next ones hold. */
export async function absorbLayers(
  chain: readonly VolumeSource[],
  absorbed: number,
  work: Work & { readonly onProgress: (fraction: number) => void },
): Promise<void> {
  const [top, ...backing] = chain
  if (top === undefined) return
  const { request, file, below } = jailedChain(chain, 'write')
  const base = below[absorbed] ?? ''
  const format = base === '' ? [] : ['-F', formatOf(backing[absorbed])]
  const result = await work.jailed.run(
    {
      tool: 'qemu-img',
      args: ['rebase', '-p', '-b', base, ...format, '--', file],
      ...request,
      timeoutMs: COPY_TIMEOUT_MS,
      fileSizeBytes: work.fileSizeBytes,
      onStdout: (text) => {
        const fraction = parseProgress(text)
        if (fraction !== undefined) work.onProgress(fraction)
      },
    },
    work.signal,
  )
  if (result.exitCode !== 0 && !isCopied(result)) throw mergeError(placeOf(chain), result)
}

/** Copies what a layer holds into the raw volume under it, over what that holds. Broken off, it is begun again. */
export async function sinkLayer(
  [layer, into]: readonly [PathSource, VolumeSource],
  work: Work & { readonly onProgress: (fraction: number) => void },
): Promise<void> {
  const { request, file } = jailedChain([layer, into], 'write-all')
  const result = await work.jailed.run(
    {
      tool: 'qemu-img',
      args: ['commit', '-p', '-d', '--', file], // -d: the layer keeps what it has until nobody needs it.
      ...request,
      timeoutMs: COPY_TIMEOUT_MS,
      fileSizeBytes: work.fileSizeBytes,
      onStdout: (text) => {
        const fraction = parseProgress(text)
        if (fraction !== undefined) work.onProgress(fraction)
      },
    },
    work.signal,
  )
  if (result.exitCode !== 0) throw mergeError(placeOf([into]), result)
}

/**
 * The last that it does is to name the base as it was given, for which a header has 1023 bytes; a long chain is longer. The name is
 * written anew in any case.
 */
function isCopied({ stderr }: JailedToolResult): boolean {
  return /Could not change the backing file to/.test(stderr)
}

function formatOf(link: VolumeSource | undefined): string {
  return link?.format ?? 'qcow2'
}

function mergeError(path: string, { limit, stderr, exitCode }: JailedToolResult): KvasirError {
  const cause = new Error(`qemu-img ended with exit code ${exitCode} and the limit ${limit}: ${stderr}`)
  if (isWrongSecret(stderr)) return wrongSecret(path, 'no layers were merged into it')
  if (limit === 'file-size' || /No space left on device|Disk quota exceeded/.test(stderr))
    return new KvasirError(
      'not-enough-space',
      `The disk of ${path} is full, so no layers were merged into it.`,
      {
        details: { path },
        cause,
      },
    )
  return new KvasirError('host-failed', `qemu-img could not merge layers into ${path}, so they stay.`, {
    details: { path, stderr: stderr.slice(-500) },
    cause,
  })
}
