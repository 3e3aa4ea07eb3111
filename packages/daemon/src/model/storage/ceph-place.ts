/**
 * Where a pool of RBD lies: names of images, what QEMU is told to open one, and what of the network that takes.
 *
 * A client of Ceph speaks to the monitors and to every OSD, whose ports change with each start and whose hosts come and go, all within
 * one network (`public_network` of Ceph). So that is what a VM may reach, on the ports that Ceph gives itself there.
 */
import { BlockList, isIPv6 } from 'node:net'
import type { Reach } from './reach.ts'
import type { ProtocolSource } from './volume-source.ts'

/** What a pool of RBD is made of. */
export interface CephPlace {
  readonly monitors: readonly string[]
  readonly cephPool: string
  readonly namespace: string | undefined
  readonly user: string
  readonly secretId: string | undefined
  readonly networks: readonly string[]
}

/** A monitor. Its port is the one of messenger v1 unless said. */
export interface Monitor {
  readonly address: string
  readonly port: number
}

/** Of messenger v2, and of v1, which all versions know. */
const monitorPorts = { v2: 3300, v1: 6789 } as const
/** `ms_bind_port_min` and `ms_bind_port_max` of Ceph, from version 18 on; before, the last one was 7300. */
const daemonPorts = { firstPort: 6800, lastPort: 7568 } as const

/** A monitor, from what the contract takes for one. */
export function monitorOf(text: string): Monitor {
  const [, six, four, port] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text) ?? []
  const address = six ?? four
  if (address === undefined) throw new TypeError(`${JSON.stringify(text)} is no monitor.`)
  return { address, port: port === undefined ? monitorPorts.v1 : Number(port) }
}

/** The networks in which the OSDs are to be: those that were said, else those of the monitors. */
export function networksOf({ networks, monitors }: CephPlace): readonly string[] {
  if (networks.length > 0) return networks
  const own = monitors.map(monitorOf).map(({ address }) => `${address}/${address.includes(':') ? 64 : 24}`)
  return [...new Set(own)]
}

/** What it takes to connect to. */
export function cephReach(place: CephPlace): readonly Reach[] {
  const monitors = place.monitors
    .map(monitorOf)
    .flatMap(({ address, port }) =>
      [...new Set([port, monitorPorts.v2, monitorPorts.v1])].map((firstPort) => ({ address, firstPort })),
    )
  return [...monitors, ...networksOf(place).map((address) => ({ address, ...daemonPorts }))]
}

/** The Ceph pool, and the namespace in it, as the tools of Ceph name them. */
export function placeWords({ cephPool, namespace }: Pick<CephPlace, 'cephPool' | 'namespace'>): string {
  return namespace === undefined ? cephPool : `${cephPool}/${namespace}`
}

/** How QEMU opens an image (docs of QEMU: qapi, BlockdevOptionsRbd). */
export function rbdSourceOf(place: CephPlace, image: string): ProtocolSource {
  const { cephPool, namespace, user, secretId } = place
  const server = place.monitors
    .map(monitorOf)
    .map(({ address, port }) => ({ host: address, port: String(port) }))
  const auth = secretId === undefined ? 'none' : 'cephx'
  return {
    kind: 'protocol',
    driver: 'rbd',
    options: { pool: cephPool, namespace, image, user, server, 'auth-client-required': [auth] },
    ...(secretId === undefined
      ? {}
      : { secret: { option: 'key-secret', secretId, format: 'base64' as const } }),
    format: 'raw',
    reach: cephReach(place),
  }
}

/** What the tools of Ceph are configured with; the key is a file of its own. They give up by themselves where nobody answers. */
export function cephConf(place: CephPlace, files: { readonly keyring: string }, seconds: number): string {
  const hosts = place.monitors
    .map(monitorOf)
    .map(({ address, port }) => (address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`))
  const lines = [
    '[global]',
    `mon_host = ${hosts.join(',')}`,
    `keyring = ${files.keyring}`,
    `auth_client_required = ${place.secretId === undefined ? 'none' : 'cephx'}`,
    `client_mount_timeout = ${seconds}`,
    `rados_mon_op_timeout = ${seconds}`,
    `rados_osd_op_timeout = ${seconds}`,
    'log_file = ',
    'log_to_stderr = false',
    'err_to_stderr = false',
    'admin_socket = ',
    'rbd_default_clone_format = 2',
  ]
  return `${lines.join('\n')}\n`
}

/** A cephx key as Ceph shows it (src/auth/Crypto.cc: type, time, length, 16 bytes). */
export function isCephKey(text: string): boolean {
  const bytes = Buffer.from(text, 'base64')
  return /^[A-Za-z0-9+/]+=*$/.test(text) && bytes.length === 28 && bytes.readUInt16LE(0) === 1
}

/** Whether an address of an OSD is one that VMs may connect to. */
export function isReached({ address, port }: Monitor, place: CephPlace): boolean {
  const { firstPort, lastPort } = daemonPorts
  return (
    port >= firstPort &&
    port <= lastPort &&
    networksOf(place).some((network) => isInNetwork(address, network))
  )
}

function isInNetwork(address: string, network: string): boolean {
  const [base = '', bits] = network.split('/')
  const family = isIPv6(base) ? 'ipv6' : 'ipv4'
  if (isIPv6(address) !== isIPv6(base)) return false
  const list = new BlockList()
  list.addSubnet(base, Number(bits), family)
  return list.check(address, family)
}
