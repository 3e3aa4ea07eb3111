/**
 * Where one daemon of a test lives: folders, cgroup and uids that are nobody else's, so that daemons run side by side and no test
 * touches the host's own.
 *
 * Not here: the daemon (daemon.ts), what it leaves behind (leftovers.ts).
 */
import { randomBytes, randomInt } from 'node:crypto'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The daemon takes no longer runtime directory (paths of sockets end at 107 bytes). */
const longestBase = 40
const uidsEach = 1000

/** The folders, names and numbers of one daemon. */
export interface Place {
  readonly base: string
  readonly stateDir: string
  readonly runtimeDir: string
  readonly logDir: string
  /** Where the daemon's own words go, all its lives one after another. */
  readonly daemonLog: string
  readonly socketPath: string
  /** The name of its cgroup. */
  readonly prefix: string
  readonly uids: { readonly first: number; readonly count: number }
  /** The network namespace that its daemon runs in, as a path; the test's own unless told. */
  readonly network?: string
}

/** Makes a place. The folder is for root alone, as a careful operator's would be. */
export async function makePlace(): Promise<Place> {
  const parent = tmpdir().length < longestBase ? tmpdir() : '/tmp'
  const base = await mkdtemp(join(parent, 'kve-'))
  const runtimeDir = join(base, 'run')
  return {
    base,
    stateDir: join(base, 'state'),
    runtimeDir,
    logDir: join(base, 'log'),
    daemonLog: join(base, 'daemon.log'),
    socketPath: join(runtimeDir, 'kvasir.sock'),
    prefix: `kve-${randomBytes(4).toString('hex')}`,
    uids: { first: 1_000_000_000 + randomInt(1_000_000) * uidsEach, count: uidsEach },
  }
}

/** The environment that makes a daemon, or a client, use the place. */
export function environmentOf(place: Place): Record<string, string> {
  return {
    KVASIR_STATE_DIR: place.stateDir,
    KVASIR_RUNTIME_DIR: place.runtimeDir,
    KVASIR_LOG_DIR: place.logDir,
    KVASIR_PREFIX: place.prefix,
    KVASIR_SOCKET_GROUP: 'root',
    KVASIR_UIDS: `${place.uids.first}:${place.uids.count}`,
    KVASIR_DEFAULT_NETWORK: 'none',
    KVASIR_URL: `unix://${place.socketPath}`,
  }
}
