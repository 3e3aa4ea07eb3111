/**
 * Throwaway network namespaces: a host in which a daemon runs, the world outside of it, and guests that are put on bridges of the host.
 *
 *     guest ──veth── bridge [host] uplink ──veth── uplink [world]
 *
 * Nothing of it touches the machine's own network: rules, forwarding and bridges are each namespace's own, and end with it.
 */
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { dhcp6Client } from './dhcp6-client.ts'
import { eventually } from './eventually.ts'
import { patient } from './patience.ts'

const run = promisify(execFile)
const commandMs = 30_000

/** The addresses between the host and the world. */
export const outside = {
  host: '198.51.100.1',
  world: '198.51.100.2',
  host6: '2001:db8:ffff::1',
  world6: '2001:db8:ffff::2',
} as const

/** What udhcpc(8) calls with what it was given. */
const takeLease = `#!/bin/sh
[ "$1" = bound ] || exit 0
ip address replace "$ip/$mask" dev "$interface"
[ -z "$router" ] || ip route replace default via "$router"
echo "lease $ip/$mask router \${router:-none} dns $dns domain $domain"
`

/** Answers each caller with its address. */
const echoProgram = `
const server = require('node:net').createServer((socket) => {
  socket.on('error', () => {})
  socket.end(String(socket.remoteAddress).replace('::ffff:', ''))
})
server.listen(Number(process.argv[1]), () => process.stdout.write('ready'))
`

/** A network namespace. */
export class Namespace {
  readonly name: string

  constructor(name: string) {
    this.name = name
  }

  get path(): string {
    return `/run/netns/${this.name}`
  }

  /** Runs a program in it and gives its stdout; throws with its stderr when it fails. */
  async run(...words: readonly (string | undefined)[]): Promise<string> {
    const argv = words.map((word) => word ?? assert.fail('There is no link of which this was to be asked.'))
    const { stdout } = await run('nsenter', [`--net=${this.path}`, ...argv], { timeout: patient(commandMs) })
    return stdout
  }

  /** Whether a program in it succeeds. */
  async can(...argv: readonly string[]): Promise<boolean> {
    return this.run(...argv).then(
      () => true,
      () => false,
    )
  }

  /** Whether a packet to an address is answered. */
  reaches(address: string): Promise<boolean> {
    const family = address.includes(':') ? '-6' : '-4'
    return this.can('busybox', 'ping', family, '-c', '2', '-W', '3', address)
  }

  /** The address under which an echo at `address` sees it; undefined when there is no answer. */
  async seenAs(address: string, port: number): Promise<string | undefined> {
    const said = await this.run('busybox', 'timeout', '20', 'busybox', 'nc', address, String(port)).catch(
      () => '',
    )
    return said === '' ? undefined : said
  }
}

/** A host, a world and guests. */
export class NetworkRoom implements AsyncDisposable {
  readonly host: Namespace
  readonly world: Namespace
  readonly #tag: string
  readonly #folder: string
  readonly #guests: Namespace[] = []
  readonly #pids: number[] = []

  constructor(tag: string, folder: string) {
    this.#tag = tag
    this.#folder = folder
    this.host = new Namespace(`${tag}-host`)
    this.world = new Namespace(`${tag}-world`)
  }

  /** Puts a namespace that stands in for a guest on a bridge, without an address of its own. */
  async addGuest(bridge: string | undefined, { mac }: { readonly mac: string }): Promise<Namespace> {
    const number = this.#guests.length
    const guest = await this.addNamespace()
    const port = `guest${number}`
    const peer = ['peer', 'name', 'eth0', 'address', mac, 'netns', guest.name]
    await run('ip', ['-n', this.host.name, 'link', 'add', port, 'type', 'veth', ...peer])
    await this.plug(port, bridge)
    await guest.run('ip', 'link', 'set', 'eth0', 'up')
    return guest
  }

  /** A namespace for a guest, which is connected to nothing. */
  async addNamespace(): Promise<Namespace> {
    const guest = new Namespace(`${this.#tag}-g${this.#guests.length}`)
    await run('ip', ['netns', 'add', guest.name])
    this.#guests.push(guest)
    await guest.run('ip', 'link', 'set', 'lo', 'up')
    return guest
  }

  /** Makes a link of the host a port of a bridge, as it is for a guest whose bridge was made again. */
  async plug(port: string, bridge: string | undefined): Promise<void> {
    await this.host.run('ip', 'link', 'set', port, 'master', bridge, 'up')
  }

  /** Asks for an address as a guest does, and gives what it was told. */
  async lease(guest: Namespace, hostname: string): Promise<string> {
    const script = join(this.#folder, 'lease')
    const options = ['-i', 'eth0', '-n', '-q', '-f', '-t', '10', '-T', '2', '-s', script]
    const said = await guest.run('busybox', 'udhcpc', ...options, '-x', `hostname:${hostname}`)
    return /^lease .*$/m.exec(said)?.[0] ?? said
  }

  /** Asks for an address by DHCPv6, and gives it. */
  async lease6(guest: Namespace, mac: string): Promise<string> {
    return await guest.run(process.execPath, '-e', dhcp6Client, mac, 'eth0')
  }

  /** Answers callers at a port of a namespace with their addresses, until the room is left. */
  async echo(at: Namespace, port: number): Promise<void> {
    const argv = [`--net=${at.path}`, process.execPath, '-e', echoProgram, String(port)]
    const child = spawn('nsenter', argv, { stdio: ['ignore', 'pipe', 'inherit'] })
    if (child.pid !== undefined) this.#pids.push(child.pid)
    await once(child.stdout, 'data')
    child.stdout.destroy()
    child.unref()
  }

  /** All that a network may change of the host: its links, its rules, its forwarding. */
  async hostState(): Promise<string> {
    const links = await this.host.run('ip', '-brief', 'link', 'show')
    const addresses = await this.host.run('ip', '-brief', 'address', 'show')
    const rules = await this.host.run('nft', 'list', 'ruleset')
    const settings = ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding', 'net.ipv6.conf.uplink.accept_ra']
    const values = await this.host.run('sysctl', ...settings)
    return [links, addresses, rules, values].join('\n')
  }

  /** All that a bridge around the uplink may change of the host, to the byte; without guests and what they were on. */
  async uplinkState(): Promise<string> {
    const told = [
      ['ip', '-j', 'address', 'show', 'dev', 'uplink'],
      ['ip', '-j', 'link', 'show', 'dev', 'uplink'],
      ['ip', '-br', 'link', 'show', 'type', 'bridge'],
      ['ip', '-j', '-4', 'route', 'show', 'table', 'all'],
      ['ip', '-j', '-6', 'route', 'show', 'table', 'all'],
      ['bridge', '-j', 'vlan'],
      ['nft', 'list', 'ruleset'],
    ] as const
    const all = []
    for (const argv of told) all.push(await this.host.run(...argv))
    return all.join('\n')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pid of this.#pids) killQuietly(pid)
    for (const namespace of [...this.#guests, this.host, this.world])
      await run('ip', ['netns', 'delete', namespace.name]).catch(() => {})
    await rm(this.#folder, { recursive: true, force: true })
  }
}

/** Opens a room: the host and the world are connected, and know each other and nothing else. */
export async function openNetworkRoom(): Promise<NetworkRoom> {
  const folder = await mkdtemp(join(tmpdir(), 'kve-room-'))
  await writeFile(join(folder, 'lease'), takeLease, { mode: 0o755 })
  const room = new NetworkRoom(`kve${randomBytes(4).toString('hex')}`, folder)
  const { host, world } = room
  try {
    for (const { name } of [host, world]) await run('ip', ['netns', 'add', name])
    const peer = ['type', 'veth', 'peer', 'name', 'uplink', 'netns', world.name]
    await run('ip', ['-n', host.name, 'link', 'add', 'uplink', ...peer])
    for (const [namespace, addresses] of [
      [host, [`${outside.host}/24`, `${outside.host6}/64`]],
      [world, [`${outside.world}/24`, `${outside.world6}/64`]],
    ] as const) {
      await namespace.run('ip', 'link', 'set', 'lo', 'up')
      for (const address of addresses) {
        const nodad = address.includes(':') ? ['nodad'] : []
        await namespace.run('ip', 'address', 'add', address, 'dev', 'uplink', ...nodad)
      }
      await namespace.run('ip', 'link', 'set', 'uplink', 'up')
    }
    await hasLinkLocal(host)
    return room
  } catch (error) {
    await room[Symbol.asyncDispose]()
    throw error
  }
}

/** The kernel gives a link its own address of IPv6 when it likes; what the host is without networks is looked at afterwards. */
async function hasLinkLocal(host: Namespace): Promise<void> {
  const has = async () =>
    /\bfe80:/.test(await host.run('ip', '-6', '-brief', 'address', 'show', 'dev', 'uplink', '-tentative'))
      ? true
      : undefined
  await eventually(has, { withinMs: commandMs, what: 'the uplink of the host has its link-local address' })
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}
