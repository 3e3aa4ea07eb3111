/**
 * qcow2 files that are encrypted with LUKS, by qemu-img in the jail, which gets the passphrase as a file of its own (host/jail/jail-secrets.ts).
 * The key that a passphrase opens is made anew for each file, so a copy is encrypted anew.
 */
import { KvasirError } from '@kvasir/contract'
import type { PathSource, VolumeSource } from '../../model/storage/volume-source.ts'
import type { JailedToolRequest, JailedToolResult, JailedTools } from '../../ports/jailed-tools.ts'
import { jailedChain, placeOf } from './jailed-chain.ts'
import { parseProgress, type Qcow2Options, qcow2Options } from './qemu-img.ts'

/** How often a passphrase is hashed is measured first, which takes a while. */
const createTimeoutMs = 120_000
/** So long the hash takes here, and each start of a VM for each layer of a disk. QEMU's own wish is 2 s. */
const hashMs = 500
/** The measure fails where the kernel's account of CPU time is too coarse for it (crypto/pbkdf.c); another one mostly succeeds. */
const mostMeasures = 20
const resizeTimeoutMs = 600_000
const copyTimeoutMs = 24 * 3600 * 1000

interface Encrypted {
  readonly path: string
  readonly secretId: string
}

interface Work {
  readonly jailed: JailedTools
  readonly signal: AbortSignal
  /** Most bytes that the file may have. */
  readonly fileSizeBytes: number
}

/** Whether QEMU or a tool says that a passphrase does not open what it is for (crypto/block-luks.c). */
export function isWrongSecret(text: string): boolean {
  return /Invalid password, cannot unlock any keyslot/.test(text)
}

/** The refusal of a passphrase. */
export function wrongSecret(place: string, consequence: string): KvasirError {
  return new KvasirError('secret-refused', `The secret of ${place} does not open it, so ${consequence}.`)
}

/** Makes a file that exists and is empty an encrypted one; its base is named and not opened. */
export async function makeEncrypted(
  { path, secretId }: Encrypted,
  options: Qcow2Options & { readonly capacityBytes: number; readonly base: PathSource | undefined },
  work: Work,
): Promise<void> {
  const { base } = options
  const backing = base === undefined ? [] : ['-u', '-F', base.format, '-b', base.path]
  const encryption = `encrypt.format=luks,encrypt.key-secret=secret0,${hashOptions('encrypt.')}`
  await run(
    path,
    {
      args: [
        'create',
        '-q',
        '-f',
        'qcow2',
        '-o',
        `${qcow2Options(options)},${encryption}`,
        ...backing,
        '--',
        '/out/0',
        String(options.capacityBytes),
      ],
      inputs: [],
      outputs: [path],
      secrets: [{ object: 'secret0', secretId, format: 'raw' }],
      timeoutMs: options.preallocation === 'full' ? copyTimeoutMs : createTimeoutMs,
    },
    work,
  )
}

/** Copies a chain, top first, into a file that exists and is empty. */
export async function copyEncrypted(
  target: Encrypted,
  chain: readonly VolumeSource[],
  work: Work & { readonly capacityBytes: number; readonly onProgress: (fraction: number) => void },
): Promise<void> {
  await makeEncrypted(target, { capacityBytes: work.capacityBytes, base: undefined }, work)
  const from = jailedChain(chain, 'read')
  const to = jailedChain([sourceOf(target)], 'write', from.request)
  await run(
    target.path,
    {
      args: ['convert', '-p', '-n', '-W', '-O', 'qcow2', '--', from.file, to.file],
      ...to.request,
      timeoutMs: copyTimeoutMs,
      onStdout: (text) => {
        const fraction = parseProgress(text)
        if (fraction !== undefined) work.onProgress(fraction)
      },
    },
    work,
  )
}

/** Gives a file another capacity. What it is based on is not opened. */
export async function resizeEncrypted(target: Encrypted, capacityBytes: number, work: Work): Promise<void> {
  const { request, file } = jailedChain([sourceOf(target)], 'write')
  const args = ['resize', '-q', '--shrink', '--', file, String(capacityBytes)]
  await run(target.path, { args, ...request, timeoutMs: resizeTimeoutMs }, work)
}

function sourceOf({ path, secretId }: Encrypted): PathSource {
  return { path, format: 'qcow2', encryption: { secretId } }
}

/** How often a passphrase is hashed, as options of a new file; `prefix` is that of its format. */
export function hashOptions(prefix: 'encrypt.' | ''): string {
  return `${prefix}iter-time=${hashMs}`
}

/** Runs a tool that may have to measure how long a hash takes, again where that did not go. */
export async function runMeasured(
  jailed: JailedTools,
  request: JailedToolRequest,
  signal: AbortSignal,
): Promise<JailedToolResult> {
  for (let measure = 1; ; measure++) {
    const result = await jailed.run(request, signal)
    const isMeasured = !/Unable to get accurate CPU usage/.test(result.stderr)
    if (result.exitCode === 0 || isMeasured || measure >= mostMeasures) return result
  }
}

async function run(
  path: string,
  request: Omit<JailedToolRequest, 'tool' | 'fileSizeBytes'>,
  { jailed, signal, fileSizeBytes }: Work,
): Promise<void> {
  const result = await runMeasured(jailed, { tool: 'qemu-img', ...request, fileSizeBytes }, signal)
  if (result.exitCode !== 0) throw failure(path, result)
}

function failure(path: string, { exitCode, limit, stderr }: JailedToolResult): KvasirError {
  const place = placeOf([{ path, format: 'qcow2' }])
  const cause = new Error(`qemu-img ended with exit code ${exitCode} and the limit ${limit}: ${stderr}`)
  if (isWrongSecret(stderr)) return wrongSecret(place, 'nothing was done with it')
  if (limit === 'file-size' || /No space left on device|Disk quota exceeded/.test(stderr))
    return new KvasirError('not-enough-space', `The disk of ${place} is full, so the volume was not made.`, {
      cause,
    })
  return new KvasirError('host-failed', `qemu-img could not write ${place}, so nothing was done with it.`, {
    details: { path, stderr: stderr.slice(-500) },
    cause,
  })
}
