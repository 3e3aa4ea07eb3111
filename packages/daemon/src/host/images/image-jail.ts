/**
 * What is done to a foreign disk image, each in the jail: asking its size, checking it, converting it to qcow2. The format is always said,
 * never probed.
 *
 * Not here: the jail itself (host/jail), the order of the steps (import-disk.ts).
 */
import { type ImportFormat, KvasirError } from '@kvasir/contract'
import { maximumVirtualBytes } from '../../model/images/inspect-header.ts'
import type { JailedToolResult, JailedTools } from '../../ports/jailed-tools.ts'

const inspectTimeoutMs = 60_000
const convertTimeoutMs = 3_600_000

/** The error for an image that is not acceptable; `reason` goes on after "because". */
export function refusal(name: string, reason: string, cause?: unknown): KvasirError {
  return new KvasirError('image-refused', `Image ${name} is refused because ${reason}.`, { cause })
}

/** The three things that are done to one image in the jail. */
export class ImageJail {
  readonly #jailed: JailedTools
  readonly #options: { readonly signal: AbortSignal; readonly name: string }

  constructor(jailed: JailedTools, options: { readonly signal: AbortSignal; readonly name: string }) {
    this.#jailed = jailed
    this.#options = options
  }

  /** The size that the disk shows a guest. */
  async virtualSize(image: string, format: ImportFormat): Promise<number> {
    const args = ['info', '--output=json', '-f', format, '/in/0']
    const result = await this.#run({ args, inputs: [image], timeoutMs: inspectTimeoutMs, fileSizeBytes: 0 })
    this.#require(result, [0], 'qemu-img cannot read it')
    const size = virtualSizeIn(result.stdout)
    if (size === undefined)
      throw refusal(this.#options.name, 'its size is not known or it refers to another file')
    if (size > maximumVirtualBytes)
      throw refusal(this.#options.name, `its disk of ${size} bytes is too large`)
    return size
  }

  /** Refuses an image whose tables contradict each other or point outside it; not every format can be checked. */
  async check(image: string, format: ImportFormat): Promise<void> {
    if (format === 'raw') return
    const args = ['check', '-f', format, '/in/0']
    const result = await this.#run({ args, inputs: [image], timeoutMs: convertTimeoutMs, fileSizeBytes: 0 })
    this.#require(result, [0, checkExit.leaks, checkExit.unsupported], 'it is damaged or incomplete')
  }

  async convert(work: {
    readonly copy: string
    readonly format: ImportFormat
    readonly output: string
    readonly fileSizeBytes: number
  }): Promise<void> {
    const { copy, format, output, fileSizeBytes } = work
    const args = ['convert', '-f', format, '-O', 'qcow2', '-o', 'compat=1.1', '/in/0', '/out/disk.qcow2']
    const timeoutMs = convertTimeoutMs
    const result = await this.#run({
      args,
      inputs: [copy],
      outputDirectory: output,
      timeoutMs,
      fileSizeBytes,
    })
    this.#require(result, [0], 'it cannot be converted')
  }

  #run(request: Omit<Parameters<JailedTools['run']>[0], 'tool'>): Promise<JailedToolResult> {
    return this.#jailed.run({ tool: 'qemu-img', ...request }, this.#options.signal)
  }

  #require(result: JailedToolResult, accepted: readonly number[], reason: string): void {
    const { limit, exitCode } = result
    if (limit === 'file-size') {
      throw new KvasirError(
        'not-enough-space',
        `Image ${this.#options.name} would take more room than there is, so it was not imported.`,
      )
    }
    if (limit !== undefined) throw refusal(this.#options.name, `working on it exceeded the limit of ${limit}`)
    if (exitCode === undefined || !accepted.includes(exitCode)) {
      throw refusal(this.#options.name, reason, new Error(result.stderr))
    }
  }
}

/** qemu-img(1), "check": 3 means that clusters are leaked, 63 that the format has no check. */
const checkExit = { leaks: 3, unsupported: 63 } as const

function virtualSizeIn(text: string): number | undefined {
  try {
    const info: unknown = JSON.parse(text)
    if (typeof info !== 'object' || info === null || !('virtual-size' in info)) return undefined
    if ('backing-filename' in info || 'full-backing-filename' in info) return undefined
    const size = info['virtual-size']
    return typeof size === 'number' && Number.isSafeInteger(size) && size > 0 ? size : undefined
  } catch {
    return undefined
  }
}
