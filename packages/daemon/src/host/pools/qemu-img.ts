/**
 * `qemu-img`, as far as the directory pool needs it: making qcow2 files and copying chains.
 *
 * It never finds out by itself what to open: a format is given, never probed; the base of an overlay is named but not opened (`-u`),
 * and a chain to copy is spelled out from top to bottom, which overrides what the headers name. Sources were checked before
 * (chain-check.ts); limits on memory keep a bad one from more than failing.
 *
 * Options of new files: clusters of 64 KiB; no lazy refcounts, since they need a repair at the next start after every kill; no
 * extended L2, which pays off only with larger clusters and is not read by older tools.
 */
import { KvasirError } from '@kvasir/contract'
import { CommandError, runCommand } from '@kvasir/linux'
import type { ChainLink } from '../../ports/files.ts'

const CREATE_TIMEOUT_MS = 30_000
const COPY_TIMEOUT_MS = 24 * 3600 * 1000

/** qemu-img maps about 300 MiB to start; metadata of a sound image takes little more. */
const ADDRESS_SPACE_BYTES = 2 * 1024 ** 3

const QCOW2_OPTIONS = 'cluster_size=65536,lazy_refcounts=off,extended_l2=off,preallocation=off'

/** Makes `path`, which exists and is empty, a qcow2 file. */
export async function makeQcow2(
  path: string,
  options: { readonly capacityBytes: number; readonly base: ChainLink | undefined },
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
      QCOW2_OPTIONS,
      ...backing,
      '--',
      path,
      String(options.capacityBytes),
    ],
    { path, timeoutMs: CREATE_TIMEOUT_MS },
  )
}

/** Copies the contents of a chain, top first, into `path`. */
export async function copyChain(
  path: string,
  chain: readonly ChainLink[],
  options: { readonly onProgress: (fraction: number) => void; readonly signal: AbortSignal },
): Promise<void> {
  await qemuImg(
    [
      'convert',
      '-p',
      '-W',
      '-O',
      'qcow2',
      '-o',
      QCOW2_OPTIONS,
      '--',
      `json:${JSON.stringify(blockNode(chain))}`,
      path,
    ],
    {
      path,
      timeoutMs: COPY_TIMEOUT_MS,
      signal: options.signal,
      onStdout: (text) => {
        const fraction = parseProgress(text)
        if (fraction !== undefined) options.onProgress(fraction)
      },
    },
  )
}

/** The last progress, from 0 to 1, in what `qemu-img -p` printed, such as `    (12.50/100%)\r`. */
function parseProgress(text: string): number | undefined {
  const percent = [...text.matchAll(/\((\d{1,3}(?:\.\d+)?)\/100%\)/g)].at(-1)?.[1]
  return percent === undefined ? undefined : Math.min(1, Number(percent) / 100)
}

function blockNode(chain: readonly ChainLink[]): unknown {
  const [link, ...below] = chain
  if (link === undefined) return null
  return {
    driver: link.format,
    file: { driver: 'file', filename: link.path },
    ...(link.format === 'qcow2' ? { backing: blockNode(below) } : {}),
  }
}

async function qemuImg(
  args: readonly string[],
  options: {
    readonly path: string
    readonly timeoutMs: number
    readonly signal?: AbortSignal
    readonly onStdout?: (text: string) => void
  },
): Promise<void> {
  const limits = ['prlimit', `--as=${ADDRESS_SPACE_BYTES}`, '--core=0', '--']
  try {
    await runCommand([...limits, 'qemu-img', ...args], { ...options, endsWithUs: true })
  } catch (error) {
    throw error instanceof CommandError ? explained(error, options) : error
  }
}

function explained(error: CommandError, options: { path: string; signal?: AbortSignal }): unknown {
  if (error.failure === 'aborted') return options.signal?.reason ?? error
  const { path } = options
  if (/No space left on device|Disk quota exceeded/.test(error.stderr))
    return new KvasirError('not-enough-space', `The disk of ${path} is full, so the volume was not made.`, {
      details: { path },
      cause: error,
    })
  return new KvasirError('host-failed', `qemu-img could not make ${path}, so there is no such volume.`, {
    details: { path, stderr: error.stderr.slice(-500) },
    cause: error,
  })
}
