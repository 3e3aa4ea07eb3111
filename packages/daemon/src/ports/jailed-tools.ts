/**
 * Tools that touch what a stranger made, in a jail: no network, nothing of the host to name but the inputs, limits on everything.
 *
 * Not here: what is done with the result, which is a stranger's too until it was looked at.
 */

/** One run of qemu-img. Inputs are seen as /in/0, /in/1 ..., the output directory as /out. */
export interface JailedToolRequest {
  readonly tool: 'qemu-img'
  readonly args: readonly string[]
  /** Absolute paths of files that others may read, in directories that only root may enter. */
  readonly inputs: readonly string[]
  /** A directory for the tool's one output file; it belongs to the jail's user until the run ends, then to root. */
  readonly outputDirectory?: string
  readonly timeoutMs: number
  /** Most bytes of one file that it may write. */
  readonly fileSizeBytes: number
}

/** How a run ended; a tool that failed is a result. */
export interface JailedToolResult {
  /** Undefined when the tool was ended by a signal. */
  readonly exitCode: number | undefined
  readonly stdout: string
  readonly stderr: string
  /** Which limit ended it, if one did. */
  readonly limit: 'time' | 'output' | 'file-size' | 'cpu' | undefined
}

export interface JailedTools {
  /** Runs a tool to its end. Rejects when the jail cannot be closed or the signal aborts. */
  run(request: JailedToolRequest, signal: AbortSignal): Promise<JailedToolResult>
}
