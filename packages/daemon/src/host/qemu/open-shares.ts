/**
 * The sockets between QEMU and those that serve a VM's shares: made and held by a process (open-shares.pl) from which the launchers of both
 * take theirs. A server of virtiofs accepts by itself, so it is given a socket that listens, to which QEMU's is connected already; so
 * neither waits for the other to be started, and no path is there that a third could connect to.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { COMMAND_PATH } from '@kvasir/linux'
import type { PassedDescriptor } from '../cage/launcher-script.ts'
import { answerOf } from '../networks/open-taps.ts'

const program = join(import.meta.dirname, 'open-shares.pl')

/** The two ends of each share, in another process, for as long as they are not released. */
export interface OpenShares {
  readonly ends: ReadonlyMap<
    string,
    { readonly listening: PassedDescriptor; readonly connected: PassedDescriptor }
  >
  release(): void
}

/** Makes the sockets of shares, by their names. `directory` must not be writable by anyone but us. */
export async function openShares(
  shares: readonly string[],
  directory: string,
  otherwise = 'it is not started',
): Promise<OpenShares> {
  const child = spawn('perl', [program, directory, String(shares.length)], {
    detached: true,
    cwd: '/',
    env: { PATH: COMMAND_PATH, LC_ALL: 'C' },
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  child.stdin.on('error', () => {}) // It has ended.
  const release = () => child.stdin.destroy()
  const answer = await answerOf(child)
  const { pid } = child
  const numbers = /^\d+( \d+)*$/.test(answer) ? answer.split(' ').map(Number) : []
  if (pid === undefined || numbers.length !== 2 * shares.length) {
    release()
    const why = /^refused: (.*)$/.exec(answer)?.[1] ?? 'perl did not answer'
    throw new KvasirError('host-failed', `The shares of the VM have no sockets (${why}), so ${otherwise}.`)
  }
  const ends = new Map(
    shares.map((share, index) => {
      const [listening = -1, connected = -1] = numbers.slice(2 * index, 2 * index + 2)
      return [share, { listening: { pid, fd: listening }, connected: { pid, fd: connected } }] as const
    }),
  )
  return { ends, release }
}
