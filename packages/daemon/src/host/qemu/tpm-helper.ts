/**
 * swtpm: the TPM of a VM, a process in a cage of its own.
 *
 * It lives in the VM's cgroup, so that it ends with the VM, as the user of its network helpers, and sees nothing but the directory of its
 * state, which it locks. It is given one end of a connected socket, whose other end QEMU has, and ends when QEMU does (`--terminate`).
 * QEMU does not answer before it does. One that is killed leaves the guest without a TPM until the VM's next start.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import type { LaunchRequest } from '../../ports/emulators.ts'
import type { Cages } from '../cage/cage.ts'
import { CageError } from '../cage/cage-error.ts'
import { type EmulatorPaths, groupOf } from './runtime-directory.ts'

/** The program of Debian's package. */
export const swtpmBinary = '/usr/bin/swtpm'

const launchTimeoutMs = 15_000
const logCapBytes = 256 * 1024
/** The first descriptor that a caged program is given (host/cage/launcher-script.ts). */
const socketDescriptor = 10
const stateDirectory = '/run/vm'

/** The place in its cage that it may write to. */
export const tpmBind = { place: stateDirectory, writable: true } as const
/** What it may have open there: the lock, and its state while it is written (swtpm: src/swtpm/swtpm_nvstore_dir.c). */
export const tpmFiles = [
  '.lock',
  'tpm2-00.permall',
  'tpm2-00.volatilestate',
  'TMP2-00.permall',
  'TMP2-00.volatilestate',
].map((name) => `${stateDirectory}/${name}`)

/** Starts the TPM of a VM that has one, with its end of the socket. `emulator-failed` with what it said last. */
export async function startTpm(
  { id, uid, plan }: Pick<LaunchRequest, 'id' | 'uid' | 'plan'>,
  tools: {
    readonly cages: Pick<Cages, 'launch'>
    readonly paths: EmulatorPaths
    readonly fd: number
    readonly signal: AbortSignal
  },
): Promise<void> {
  const { paths } = tools
  if (plan.tpm === undefined) return
  await mkdir(paths.tpm, { recursive: true, mode: 0o700 })
  const state = ['--tpmstate', `dir=${stateDirectory},mode=0600`]
  const socket = ['--ctrl', `type=unixio,clientfd=${socketDescriptor}`, '--terminate']
  try {
    const { logged } = await tools.cages.launch(
      {
        group: groupOf(id),
        joins: true,
        uid: uid + 1,
        gid: uid + 1,
        binary: swtpmBinary,
        args: ['socket', '--tpm2', ...state, ...socket],
        binds: [{ source: plan.tpm.stateDirectory, ...tpmBind }],
        limits: { openFiles: 64, memlockBytes: undefined, processes: 64 },
        directory: paths.tpm,
        descriptors: [tools.fd],
        logs: { output: join(paths.logDirectory, 'tpm.log'), capBytes: logCapBytes },
        timeoutMs: launchTimeoutMs,
      },
      tools.signal,
    )
    await logged
  } catch (error) {
    if (!(error instanceof CageError)) throw error
    throw new KvasirError(
      'emulator-failed',
      `The TPM did not start, so the VM does not run: ${error.message}`,
      {
        cause: error,
      },
    )
  }
}
