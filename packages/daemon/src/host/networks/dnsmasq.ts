/**
 * The dnsmasq of a network: a process of its own that outlives the daemon, known by the configuration file that stands in its command line.
 *
 * It goes into the background when it serves, and not before, so that a start that fails has said why. Whoever follows finds it by its
 * pid file, or among all processes where a killed daemon left it none.
 */
import { readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { identifyProcess, isAlive, type ProcessIdentity, waitUntilGone } from '@kvasir/linux'
import { listenerWords } from '../../model/network/port-claims.ts'
import { hostListeners } from './host-listeners.ts'
import { runNetworkCommand } from './network-commands.ts'

const stopMs = 3_000
const killMs = 3_000

/** Who it becomes when its sockets are open: Debian's own user for it, or the one without rights. */
const users = ['dnsmasq', 'nobody'] as const

export interface DnsmasqUser {
  readonly user: string
  readonly group: string
}

/** A network's dnsmasq in its folder. */
export class Dnsmasq {
  readonly #conf: string
  readonly pidFile: string

  constructor(folder: string) {
    this.#conf = join(folder, 'dnsmasq.conf')
    this.pidFile = join(folder, 'dnsmasq.pid')
  }

  /** The process that serves now. */
  async find(options: { readonly among: 'pid-file' | 'all' }): Promise<ProcessIdentity | undefined> {
    const pid = Number((await readFile(this.pidFile, 'utf8').catch(() => '')).trim())
    const noted = Number.isSafeInteger(pid) && pid > 1 ? await this.#identify(pid) : undefined
    if (noted || options.among === 'pid-file') return noted
    for (const name of await readdir('/proc')) {
      const found = /^\d+$/.test(name) ? await this.#identify(Number(name)) : undefined
      if (found) return found
    }
    return undefined
  }

  /** Whether it serves what `text` says. */
  async serves(text: string): Promise<boolean> {
    const known = await readFile(this.#conf, 'utf8').catch(() => undefined)
    return known === text && (await this.find({ among: 'pid-file' })) !== undefined
  }

  /** Ends the one that serves, if there is one, and starts another. `in-use` when a port is taken. */
  async start(text: string, networkName: string): Promise<void> {
    await this.stop()
    await writeFile(`${this.#conf}.new`, text, { mode: 0o600 })
    await rename(`${this.#conf}.new`, this.#conf)
    try {
      await runNetworkCommand(['dnsmasq', `--conf-file=${this.#conf}`], {
        purpose: `network ${networkName} has no DHCP and no DNS`,
      })
    } catch (error) {
      if (!(error instanceof KvasirError) || !/Address already in use/.test(error.message)) throw error
      const who = await whoListens(error.message)
      throw new KvasirError(
        'in-use',
        `${who ?? 'Another program has port 53 or 67, which ss -lunp shows'}, so network ${networkName} has no DHCP and no DNS; ` +
          'servers of the host should listen on its own addresses only.',
        { details: { network: networkName }, cause: error },
      )
    }
  }

  /** Ends it. Safe to repeat. */
  async stop(): Promise<void> {
    const running = await this.find({ among: 'all' })
    if (!running) return
    signal(running, 'SIGTERM')
    if (await waitUntilGone(running, { timeoutMs: stopMs })) return
    signal(running, 'SIGKILL')
    if (await waitUntilGone(running, { timeoutMs: killMs })) return
    throw new KvasirError(
      'host-failed',
      `The dnsmasq with pid ${running.pid} does not end, so its network stays.`,
    )
  }

  async #identify(pid: number): Promise<ProcessIdentity | undefined> {
    const identity = await identifyProcess(pid)
    if (!identity || !(await isAlive(identity))) return undefined
    const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
    return words.includes(`--conf-file=${this.#conf}`) ? identity : undefined
  }
}

/**
 * Who has what dnsmasq wanted, by its own words (src/network.c, make_sock, and src/dhcp.c, make_fd, of 2.90): port 53 of an address, or
 * else that of DHCP, which several of its kind share.
 */
async function whoListens(said: string): Promise<string | undefined> {
  const listeners = await hostListeners().catch(() => [])
  const address = /listening socket for ([\d.]+|[\da-f]*:[\da-f:]*): /i.exec(said)?.[1]
  if (address !== undefined) return listenerWords({ address, port: 53 }, listeners)
  const others = listeners.filter(({ program }) => !program?.startsWith('dnsmasq '))
  return listenerWords({ protocol: 'udp', address: '0.0.0.0', port: 67 }, others)
}

/** The user and the group that it becomes. */
export async function dnsmasqUser(): Promise<DnsmasqUser> {
  const [passwd, group] = await Promise.all([readFile('/etc/passwd', 'utf8'), readFile('/etc/group', 'utf8')])
  for (const user of users) {
    const gid = passwd
      .split('\n')
      .find((line) => line.startsWith(`${user}:`))
      ?.split(':')[3]
    const row = group.split('\n').find((line) => gid !== undefined && line.split(':')[2] === gid)
    if (row !== undefined) return { user, group: row.split(':')[0] ?? '' }
  }
  throw new KvasirError(
    'unsupported',
    `This host has no user ${users.join(' and no user ')}, so dnsmasq could not give up root and is not started.`,
  )
}

function signal({ pid }: ProcessIdentity, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // It has ended meanwhile.
  }
}
