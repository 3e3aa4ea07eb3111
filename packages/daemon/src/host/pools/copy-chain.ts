/**
 * What copies of chains have in common whatever they lie on, and copies into storage that QEMU speaks to itself. Told by sources alone, so
 * that from any pool to any other goes. In the jail, as all that reads a volume.
 *
 * Not here: copies into files and devices (qemu-img.ts).
 */
import { KvasirError } from '@kvasir/contract'
import { z } from 'zod'
import { isEncryptedRaw, type VolumeSource } from '../../model/storage/volume-source.ts'
import type { JailedToolResult, JailedTools } from '../../ports/jailed-tools.ts'
import { checkedChain } from './chain-check.ts'
import { isWrongSecret, wrongSecret } from './encrypted-qcow2.ts'
import { jailedChain, placeOf } from './jailed-chain.ts'
import { isLockRefusal, lockError } from './lock-error.ts'
import { parseProgress } from './qemu-img.ts'

const infoTimeoutMs = 30_000
const copyTimeoutMs = 24 * 3600 * 1000

const info = z.object({ 'virtual-size': z.number(), 'actual-size': z.number().optional() })

/** What is known of a chain before it is copied. */
export interface CopiedChain {
  readonly capacityBytes: number
  /** What it occupies; 0 where nobody can say. */
  readonly allocatedBytes: number
}

/**
 * Looks at a chain, top first, before it is copied. Files are compared with the record, header by header; what QEMU speaks to itself
 * is opened with the chain spelled out, so no header there has a say.
 */
export async function inspectChain(
  chain: readonly VolumeSource[],
  { jailed, signal }: { readonly jailed: JailedTools; readonly signal: AbortSignal },
): Promise<CopiedChain> {
  const files = chain.filter((link) => link.kind !== 'protocol')
  const [top, ...backing] = files.some(isEncryptedRaw) ? [] : files
  if (top !== undefined && backing.length === chain.length - 1) return await checkedChain(top, backing)
  const { request, file } = jailedChain(chain, 'read')
  const args = ['info', '--output=json', '-U', '--', file]
  const limits = { timeoutMs: infoTimeoutMs, fileSizeBytes: 0 }
  const result = await jailed.run({ tool: 'qemu-img', args, ...request, ...limits }, signal)
  if (result.exitCode !== 0) throw copyError(chain, 'looked at', result)
  const { 'virtual-size': capacityBytes, 'actual-size': allocatedBytes = 0 } = info.parse(
    JSON.parse(result.stdout),
  )
  return { capacityBytes, allocatedBytes }
}

/** Copies what a chain shows into a source that has at least its capacity. `isZero`: the target reads as zeroes now. */
export async function copyInto(
  target: VolumeSource,
  chain: readonly VolumeSource[],
  work: {
    readonly jailed: JailedTools
    readonly signal: AbortSignal
    readonly onProgress: (fraction: number) => void
    readonly isZero: boolean
    /** What the target lies on: it gets only what is on the top of the chain (qemu-img(1), convert: -B). */
    readonly below?: readonly VolumeSource[]
    /** What is copied in a second at most; 0 for no limit. */
    readonly bytesPerSecond?: number
    /** What is copied into a file is on the disk afterwards, for whoever does not see to that. */
    readonly isFlushed?: boolean
    /** Most bytes that it may have where it is a file. */
    readonly fileSizeBytes?: number
  },
): Promise<void> {
  const from = jailedChain(chain, 'read')
  const below = work.below ?? []
  const to = jailedChain([target, ...below], 'write', from.request)
  const base = below[0] === undefined ? [] : ['-B', to.below[0] ?? '', '-F', below[0].format]
  const zero = work.isZero ? ['--target-is-zero'] : []
  const result = await work.jailed.run(
    {
      tool: 'qemu-img',
      args: [
        'convert',
        '-p',
        '-n',
        '-W',
        ...cacheOf(target, work.isFlushed),
        '-O',
        isEncryptedRaw(target) ? 'luks' : target.format,
        ...zero,
        ...base,
        ...(work.bytesPerSecond ? ['-r', String(work.bytesPerSecond)] : []),
        '--',
        from.file,
        to.file,
      ],
      ...to.request,
      timeoutMs: copyTimeoutMs,
      fileSizeBytes: work.fileSizeBytes ?? 0,
      onStdout: (text) => {
        const fraction = parseProgress(text)
        if (fraction !== undefined) work.onProgress(fraction)
      },
    },
    work.signal,
  )
  if (isLockRefusal(result.stderr)) throw await lockError([target, ...chain], 'nothing was copied')
  if (result.exitCode !== 0) throw copyError([target], 'copied into', result)
}

/** A target is closed with a flush, unless qemu-img is left to its own choice of a cache, `unsafe` (qemu-img(1), convert). */
function cacheOf({ kind }: VolumeSource, isFlushed = false): readonly string[] {
  if (kind === 'protocol' || kind === 'device') return ['-t', 'none']
  return isFlushed ? ['-t', 'writeback'] : []
}

function copyError(
  chain: readonly VolumeSource[],
  what: string,
  { limit, stderr, exitCode }: JailedToolResult,
): KvasirError {
  const place = placeOf(chain)
  if (isWrongSecret(stderr)) return wrongSecret(place, `it was not ${what}`)
  const cause = new Error(`qemu-img ended with exit code ${exitCode} and the limit ${limit}: ${stderr}`)
  if (/No space left on device|Disk quota exceeded/.test(stderr))
    return new KvasirError('not-enough-space', `What ${place} lies on is full, so it was not ${what}.`, {
      cause,
    })
  if (/Connection timed out|Host is unreachable|No route to host/.test(stderr) || limit === 'time')
    return new KvasirError(
      'pool-unreachable',
      `What ${place} lies on does not answer, so it was not ${what}.`,
      { cause },
    )
  return new KvasirError('host-failed', `qemu-img could not read ${place}, so it was not ${what}.`, {
    details: { place, stderr: stderr.slice(-500) },
    cause,
  })
}
