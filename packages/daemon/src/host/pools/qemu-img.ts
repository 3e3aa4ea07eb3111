/**
 * `qemu-img`, as far as the directory pool needs it: making qcow2 files and copying chains.
 *
 * It never finds out by itself what to open: a format is given, never probed, and a chain to copy is spelled out from top to bottom,
 * which overrides what the headers name. Sources were checked before (chain-check.ts), and are read in the jail: an emulator that was
 * taken over may have written anything into them. A new file is made outside of it, which is quicker, since nothing is read then: the
 * base of an overlay is named but not opened (`-u`).
 *
 * Options of new files: clusters of 64 KiB; no lazy refcounts, since they need a repair at the next start after every kill; no
 * extended L2, which pays off only with larger clusters and is not read by older tools.
 */
import { type ErrorCode, KvasirError } from '@kvasir/contract'
import { CommandError, runCommand } from '@kvasir/linux'
import type { PathSource, VolumeSource } from '../../model/storage/volume-source.ts'
import type { JailedToolResult, JailedTools } from '../../ports/jailed-tools.ts'
import { jailedChain } from './jailed-chain.ts'
import { isLockRefusal, lockError } from './lock-error.ts'

const CREATE_TIMEOUT_MS = 30_000
/** Shrinking gives clusters back one by one. */
const RESIZE_TIMEOUT_MS = 600_000
const COPY_TIMEOUT_MS = 24 * 3600 * 1000

/** qemu-img maps about 300 MiB to start. */
const ADDRESS_SPACE_BYTES = 2 * 1024 ** 3

/** How a new qcow2 file differs from the usual. */
export interface Qcow2Options {
  readonly preallocation?: 'none' | 'metadata' | 'full'
  readonly clusterBytes?: number | undefined
  readonly lazyRefcounts?: boolean
}

const preallocations = { none: 'off', metadata: 'metadata', full: 'falloc' } as const

/** The options of a new file, for `-o`. */
export function qcow2Options({ preallocation, clusterBytes, lazyRefcounts }: Qcow2Options): string {
  return [
    `cluster_size=${clusterBytes ?? 65536}`,
    `lazy_refcounts=${lazyRefcounts ? 'on' : 'off'}`,
    'extended_l2=off',
    `preallocation=${preallocations[preallocation ?? 'none']}`,
  ].join(',')
}

/** Makes `path`, which exists and is empty, a qcow2 file. */
export async function makeQcow2(
  path: string,
  options: Qcow2Options & { readonly capacityBytes: number; readonly base: PathSource | undefined },
): Promise<void> {
  const { base } = options
  const backing = base === undefined ? [] : ['-u', '-F', base.format, '-b', base.path]
  await qemuImg(
    [
      'create',
      '-q',
      '-f',
      'qcow2',
      '-o',
      qcow2Options(options),
      ...backing,
      '--',
      path,
      String(options.capacityBytes),
    ],
    { path, timeoutMs: options.preallocation === 'full' ? COPY_TIMEOUT_MS : CREATE_TIMEOUT_MS },
  )
}

/** Copies the contents of a chain, top first, into the file `path`, in the jail. */
export async function copyChain(
  path: string,
  chain: readonly VolumeSource[],
  options: {
    readonly jailed: JailedTools
    readonly onProgress: (fraction: number) => void
    readonly signal: AbortSignal
    /** Most bytes that the copy may have. */
    readonly fileSizeBytes: number
    /** Of the copy; qcow2 unless said. */
    readonly format?: 'qcow2' | 'raw'
    /** With zstd, which QEMU 5.1 and later read. */
    readonly compress?: boolean
    /** `path` is a block device, of at least the size of what is copied; with what it reads as now. */
    readonly device?: { readonly isZero: boolean }
  },
): Promise<void> {
  const { format = 'qcow2', compress = false, device } = options
  const compression = compress ? ',compression_type=zstd' : ''
  const formatOptions = format === 'qcow2' ? ['-o', qcow2Options({}) + compression] : []
  const howToWrite = compress ? ['-c'] : ['-W'] // What is compressed is written in order in any case.
  const target = device ? deviceTarget(device) : []
  const { request, file } = jailedChain(chain, 'read')
  const result = await options.jailed.run(
    {
      tool: 'qemu-img',
      args: ['convert', '-p', ...howToWrite, '-O', format, ...formatOptions, ...target, '--', file, '/out/0'],
      ...request,
      outputs: [path],
      devices: [...request.devices, ...(device ? [path] : [])],
      timeoutMs: COPY_TIMEOUT_MS,
      fileSizeBytes: options.fileSizeBytes,
      onStdout: (text) => {
        const fraction = parseProgress(text)
        if (fraction !== undefined) options.onProgress(fraction)
      },
    },
    options.signal,
  )
  if (result.exitCode !== 0) throw copyError(path, result)
}

/**
 * A device is there already and takes its data past the page cache, so that it is on the disk when qemu-img ends. What it holds counts
 * unless it reads as zeroes (docs of qemu-img: `--target-is-zero`).
 */
function deviceTarget({ isZero }: { readonly isZero: boolean }): readonly string[] {
  return ['-n', '-t', 'none', ...(isZero ? ['--target-is-zero'] : [])]
}

/** Gives the qcow2 file `path` another capacity, in the jail. What it is based on is not opened. */
export async function resizeQcow2(
  path: string,
  capacityBytes: number,
  { jailed, fileSizeBytes }: { readonly jailed: JailedTools; readonly fileSizeBytes: number },
): Promise<void> {
  const node = { driver: 'qcow2', file: { driver: 'file', filename: '/out/0' }, backing: null }
  const result = await jailed.run(
    {
      tool: 'qemu-img',
      // Without `backing` the header would say what to open, and the jail has nothing there.
      args: ['resize', '-q', '--shrink', '--', `json:${JSON.stringify(node)}`, String(capacityBytes)],
      outputs: [path],
      inputs: [],
      timeoutMs: RESIZE_TIMEOUT_MS,
      fileSizeBytes,
    },
    AbortSignal.timeout(RESIZE_TIMEOUT_MS),
  )
  if (result.exitCode !== 0) throw await resizeError(path, result)
}

/** The last progress, from 0 to 1, in what `qemu-img -p` printed, such as `    (12.50/100%)\r`. */
export function parseProgress(text: string): number | undefined {
  const percent = [...text.matchAll(/\((\d{1,3}(?:\.\d+)?)\/100%\)/g)].at(-1)?.[1]
  return percent === undefined ? undefined : Math.min(1, Number(percent) / 100)
}

/** What was not resized is as it was, and there. */
async function resizeError(
  path: string,
  { limit, stderr, exitCode }: JailedToolResult,
): Promise<KvasirError> {
  if (isLockRefusal(stderr)) return await lockError([{ path, format: 'qcow2' }], 'it keeps its size')
  const cause = new Error(`qemu-img ended with exit code ${exitCode} and the limit ${limit}: ${stderr}`)
  const details = { path, stderr: stderr.slice(-500) }
  const refusal = (code: ErrorCode, sentence: string) =>
    new KvasirError(code, `${sentence}, so it keeps its size.`, { details, cause })
  if (limit === 'file-size' || isFull(stderr))
    return refusal('not-enough-space', `The disk of ${path} is full`)
  return /Could not open|not in qcow2 format/.test(stderr)
    ? refusal('volume-damaged', `The header or the first tables of ${path} are damaged`)
    : refusal('host-failed', `qemu-img could not resize ${path}`)
}

function copyError(path: string, { limit, stderr, exitCode }: JailedToolResult): KvasirError {
  const cause = new Error(`qemu-img ended with exit code ${exitCode} and the limit ${limit}: ${stderr}`)
  if (limit === 'file-size' || isFull(stderr)) return fullError(path, cause)
  return makeError(path, {
    stderr: limit === undefined ? stderr : `its limit of ${limit} was reached`,
    cause,
  })
}

async function qemuImg(
  args: readonly string[],
  options: { readonly path: string; readonly timeoutMs: number },
): Promise<void> {
  const { path } = options
  const limits = ['prlimit', `--as=${ADDRESS_SPACE_BYTES}`, '--core=0', '--']
  try {
    await runCommand([...limits, 'qemu-img', ...args], { ...options, endsWithUs: true })
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    throw isFull(error.stderr)
      ? fullError(path, error)
      : makeError(path, { stderr: error.stderr, cause: error })
  }
}

function isFull(stderr: string): boolean {
  return /No space left on device|Disk quota exceeded/.test(stderr)
}

function fullError(path: string, cause: Error): KvasirError {
  return new KvasirError('not-enough-space', `The disk of ${path} is full, so the volume was not made.`, {
    details: { path },
    cause,
  })
}

function makeError(path: string, { stderr, cause }: { stderr: string; cause: Error }): KvasirError {
  return new KvasirError('host-failed', `qemu-img could not make ${path}, so there is no such volume.`, {
    details: { path, stderr: stderr.slice(-500) },
    cause,
  })
}
