/**
 * Tools that touch what a stranger made, or could have changed, in a jail: no network but the servers given, nothing of the host to name but the files given,
 * limits on everything. Which files a tool opens is said here, file by file, and never found out from what one of them holds.
 *
 * Not here: what is done with the result, which is a stranger's too until it was looked at.
 */
import type { Reach } from '../model/storage/reach.ts'
import type { SecretObject } from '../model/storage/secret-use.ts'

/** One run of a tool. */
export interface JailedToolRequest {
  readonly tool: 'qemu-img' | 'qemu-nbd' | 'qemu-storage-daemon'
  readonly args: readonly string[]
  /** Absolute paths of files in directories that only root may enter; seen read-only as /in/0, /in/1 ... */
  readonly inputs: readonly string[]
  /** The same, of files that exist; seen writable as /out/0, /out/1 ... and afterwards root's alone. */
  readonly outputs?: readonly string[]
  /** Those of these paths that are block devices; the tool gets a node of its own for each. */
  readonly devices?: readonly string[]
  /** Instead of them: a directory for what the tool makes, seen as /out. It is the jail's until the run ends, then root's. */
  readonly outputDirectory?: string
  /** Servers that it may connect to. */
  readonly reach?: readonly Reach[]
  /** Secrets that `args` name as objects of QEMU; how the tool gets them is not the caller's affair. */
  readonly secrets?: readonly SecretObject[]
  readonly timeoutMs: number
  /** Most bytes of one file that it may write. */
  readonly fileSizeBytes: number
  /** Told of stdout as it comes, for a tool that prints its progress. */
  readonly onStdout?: (text: string) => void
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

/** Where a tool that serves something finds a directory for its sockets. */
export const jailedSockets = '/run/vm'

/** A tool that serves on a socket. */
export interface JailedServer {
  /** Where its directory of sockets is to us. What lies in it is a stranger's. */
  readonly directory: string
  /** Resolves when its turn has come, or it has ended without one. Never rejects. */
  readonly begun: Promise<void>
  /** How it ended. Never rejects. */
  readonly ended: Promise<JailedToolResult | Error>
  /** Ends it, and waits until no process of it lives and its files are root's again. */
  end(): Promise<void>
}

export interface JailedTools {
  /**
   * Runs a tool to its end; it is killed when the signal aborts, and with the daemon. Rejects when the jail cannot be closed, a file
   * is not there, too many tools wait (`busy`), and with what the signal says.
   */
  run(request: JailedToolRequest, signal: AbortSignal): Promise<JailedToolResult>
  /** Begins a tool that serves on a socket until it is ended, by itself or by us, and with the daemon. It may not listen yet. */
  serve(request: JailedToolRequest): Promise<JailedServer>
}
