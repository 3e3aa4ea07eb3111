/** A TPM for a QEMU that a test starts without a cage. */
import { spawn } from 'node:child_process'
import { connectPair } from '@kvasir/linux'

const longestMs = 30_000

/**
 * Gives QEMU's end of its socket. QEMU asks the TPM what it can before it answers itself; the TPM ends with its connection, or after half
 * a minute.
 */
export async function startTpm(bench: {
  readonly folder: string
  readonly undo: AsyncDisposableStack
}): Promise<number> {
  const ends = await connectPair(bench.folder)
  for (const end of ends) bench.undo.defer(() => end.release())
  const state = ['--tpmstate', `dir=${bench.folder}`, '--ctrl', 'type=unixio,clientfd=3']
  spawn('swtpm', ['socket', '--tpm2', ...state, '--terminate'], {
    stdio: ['ignore', 'ignore', 'ignore', ends[1].fd],
    timeout: longestMs,
  })
  return ends[0].fd
}
