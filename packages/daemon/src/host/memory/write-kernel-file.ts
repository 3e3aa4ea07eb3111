/**
 * Writing a file of the kernel that may take long to take what is written, as when it moves memory together for huge pages.
 *
 * A child writes it: none of this process's few file system threads is held meanwhile, and the kernel gives such work up when its
 * writer is killed (mm/hugetlb.c, set_max_huge_pages; mm/compaction.c). What was done until then stays done.
 */
import { CommandError, runCommand } from '@kvasir/linux'

/** How long a child that was killed may take to end; one that the kernel holds even then is not waited for. */
const endingMs = 2_000

/** What became of a write. */
export type KernelWrite = 'taken' | 'refused' | 'out-of-time'

export interface KernelWriteOptions {
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/** Writes a text in one piece, in no more time than is given. Throws the reason of the signal. */
export async function writeKernelFile(
  path: string,
  text: string,
  { timeoutMs, signal }: KernelWriteOptions,
): Promise<KernelWrite> {
  signal?.throwIfAborted()
  const waiting = new AbortController()
  const command = runCommand(['dd', `of=${path}`, 'conv=notrunc', 'status=none'], {
    timeoutMs,
    signal,
    input: text,
    endsWithUs: true,
  }).then(
    (): KernelWrite => 'taken',
    (error: unknown): KernelWrite => {
      if (!(error instanceof CommandError)) throw error
      return error.failure === 'exit' ? 'refused' : 'out-of-time'
    },
  )
  const did = await Promise.race([command, after(timeoutMs + endingMs, { signal, waiting: waiting.signal })])
  waiting.abort()
  signal?.throwIfAborted()
  return did
}

/** Resolves after a time, or soon after the caller gave up. */
function after(
  ms: number,
  { signal, waiting }: { readonly signal: AbortSignal | undefined; readonly waiting: AbortSignal },
): Promise<KernelWrite> {
  return new Promise((resolve) => {
    const end = () => resolve('out-of-time')
    let timer = setTimeout(end, ms)
    const soon = () => {
      clearTimeout(timer)
      timer = setTimeout(end, endingMs)
    }
    signal?.addEventListener('abort', soon, { once: true })
    waiting.addEventListener('abort', () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', soon)
      end()
    })
  })
}
