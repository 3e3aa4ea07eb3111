/**
 * For tests: a whole Ceph on loopback, of one monitor, one OSD and one manager, which takes some two seconds.
 *
 * It has an address of its own in 127.0.0.0/8, so it listens on the usual ports beside others. The OSD keeps its data in memory. It has one
 * pool, `rbd`, and one user, `kvasir`, who may do what the tools of RBD do there (`profile rbd`). All processes are children that end
 * with `[Symbol.asyncDispose]`, by their pids.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes, randomInt, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A machine on which everything else runs as well. */
const commandMs = 60_000
const upMs = 120_000
const lookMs = 50
/** How long an emulator that was killed counts as one that has its image open; 30 by default. Clients say every 5 s that they are there. */
const watchSeconds = 15

/** What of it can be stopped. */
export type CephDaemon = 'mon' | 'osd' | 'mgr'

export interface CephCluster extends AsyncDisposable {
  /** The address of its monitor. */
  readonly monitor: string
  readonly cephPool: 'rbd'
  readonly user: 'kvasir'
  /** The key of that user, as Ceph shows it. */
  readonly key: string
  /** The key of a user that the cluster does not know. */
  readonly wrongKey: string
  /** Runs a tool of Ceph as the administrator; answers what it says. */
  tool(program: 'ceph' | 'rbd' | 'rados', ...args: readonly string[]): Promise<string>
  /** Lets one of its daemons hang. */
  stop(daemon: CephDaemon): void
  goOn(daemon: CephDaemon): void
}

/** Starts a cluster. Rejects with what its daemons said when it does not come up. */
export async function startCeph(): Promise<CephCluster> {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-ceph-'))
  const processes = new Map<CephDaemon, ChildProcess>()
  const end = async () => {
    await Promise.all([...processes.values()].map(endProcess))
    await rm(folder, { recursive: true, force: true })
  }
  try {
    const address = `127.${randomInt(1, 255)}.${randomInt(256)}.${randomInt(1, 255)}`
    const keys = await layOut(folder, address)
    const conf = join(folder, 'ceph.conf')
    const tool: CephCluster['tool'] = async (program, ...args) =>
      (await run(program, ['--conf', conf, '--name', 'client.admin', ...args], { timeout: commandMs })).stdout
    const start = (daemon: CephDaemon, id: string) => {
      processes.set(daemon, startDaemon(folder, daemon, id))
    }
    await bringUp({ folder, conf, tool, start })
    return {
      monitor: address,
      cephPool: 'rbd',
      user: 'kvasir',
      key: keys,
      wrongKey: newKey(),
      tool,
      stop: (daemon) => void processes.get(daemon)?.kill('SIGSTOP'),
      goOn: (daemon) => void processes.get(daemon)?.kill('SIGCONT'),
      [Symbol.asyncDispose]: end,
    }
  } catch (error) {
    const said = await Promise.all(
      ['mon', 'osd', 'mgr'].map((name) => readFile(join(folder, `${name}.out`), 'utf8').catch(() => '')),
    )
    await end()
    throw new Error(`Ceph did not come up: ${said.join('\n').slice(-4000)}`, { cause: error })
  }
}

interface Ceph {
  readonly folder: string
  readonly conf: string
  readonly tool: CephCluster['tool']
  readonly start: (daemon: CephDaemon, id: string) => void
}

async function bringUp({ folder, conf, tool, start }: Ceph): Promise<void> {
  const keyring = join(folder, 'keyring')
  const make = (program: string, ...args: readonly string[]) =>
    run(program, ['--conf', conf, ...args], { timeout: commandMs })
  await make('ceph-mon', '--id', 'a', '--mkfs', '--monmap', join(folder, 'monmap'), '--keyring', keyring)
  start('mon', 'a')
  const osd = randomUUID()
  await tool('ceph', 'osd', 'new', osd, '0')
  await make('ceph-osd', '--id', '0', '--mkfs', '--osd-uuid', osd)
  start('osd', '0')
  start('mgr', 'x')
  await tool('ceph', 'osd', 'pool', 'create', 'rbd', '8')
  await tool('ceph', 'osd', 'pool', 'application', 'enable', 'rbd', 'rbd')
  const deadline = performance.now() + upMs
  while (!(await hasSpace(tool))) {
    if (performance.now() > deadline) throw new Error('The manager does not tell of any space.')
    await pause(lookMs)
  }
  // Waits for the OSD, which makes it.
  await tool('rados', '--pool', 'rbd', 'create', 'first')
  await tool('rados', '--pool', 'rbd', 'rm', 'first')
}

async function hasSpace(tool: CephCluster['tool']): Promise<boolean> {
  const report: unknown = JSON.parse(await tool('ceph', 'df', '--format', 'json'))
  const text = JSON.stringify(report)
  return /"total_bytes":[1-9]/.test(text) && /"max_avail":[1-9]/.test(text)
}

/** Writes configuration, keyrings and the first map of monitors; answers the key of the user. */
async function layOut(folder: string, address: string): Promise<string> {
  const users: readonly [name: string, caps: Readonly<Record<string, string>>][] = [
    ['mon.', { mon: 'allow *' }],
    ['client.admin', { mon: 'allow *', osd: 'allow *', mgr: 'allow *' }],
    ['osd.0', { mon: 'allow profile osd', osd: 'allow *', mgr: 'allow profile osd' }],
    ['mgr.x', { mon: 'allow profile mgr', osd: 'allow *', mds: 'allow *' }],
    ['client.kvasir', { mon: 'profile rbd', osd: 'profile rbd pool=rbd', mgr: 'profile rbd pool=rbd' }],
  ]
  const keys = new Map(users.map(([name]) => [name, newKey()]))
  const keyring = users.map(([name, caps]) => {
    const lines = Object.entries(caps).map(([who, what]) => `\tcaps ${who} = "${what}"\n`)
    return `[${name}]\n\tkey = ${keys.get(name)}\n${lines.join('')}`
  })
  await writeFile(join(folder, 'keyring'), keyring.join(''), { mode: 0o600 })
  for (const name of ['mon', 'osd', 'mgr', 'run']) await mkdir(join(folder, name))
  const fsid = randomUUID()
  const monitor = `[v2:${address}:3300,v1:${address}:6789]`
  await writeFile(join(folder, 'ceph.conf'), confOf(folder, { fsid, address, monitor }))
  const map = join(folder, 'monmap')
  await run('monmaptool', ['--create', '--fsid', fsid, '--addv', 'a', monitor, map], { timeout: commandMs })
  return keys.get('client.kvasir') ?? ''
}

/** Modules of the manager are python programs, of which the cluster needs none. */
const modules =
  'alerts balancer cephadm crash devicehealth insights iostat k8sevents localpool mds_autoscaler mirroring nfs orchestrator ' +
  'osd_perf_query osd_support pg_autoscaler progress prometheus rbd_support restful rook rgw selftest snap_schedule stats status ' +
  'telegraf telemetry test_orchestrator volumes zabbix influx dashboard diskprediction_local hello cli_api'

function confOf(
  folder: string,
  { fsid, address, monitor }: { readonly fsid: string; readonly address: string; readonly monitor: string },
): string {
  const path = (name: string) => join(folder, name)
  return `[global]
fsid = ${fsid}
mon_host = ${monitor}
public_addr = ${address}
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = ${path('keyring')}
admin_socket = ${path('run')}/$name.asok
run_dir = ${path('run')}
crash_dir = ${path('run')}
log_file = ${path('run')}/$name.log
osd_pool_default_size = 1
osd_pool_default_min_size = 1
mon_allow_pool_size_one = true
osd_crush_chooseleaf_type = 0
osd_pool_default_pg_autoscale_mode = off
mon_data_avail_crit = 1
paxos_propose_interval = 0.05
[mon]
mon_data = ${path('mon')}
[osd]
osd_data = ${path('osd')}
osd_client_watch_timeout = ${watchSeconds}
osd_objectstore = memstore
memstore_device_bytes = 2147483648
[mgr]
mgr_data = ${path('mgr')}
mgr_initial_modules =
mgr_disabled_modules = ${modules}
mgr_stats_period = 1
`
}

function startDaemon(folder: string, daemon: CephDaemon, id: string): ChildProcess {
  const out = openSync(join(folder, `${daemon}.out`), 'a')
  try {
    const argv = [
      '--pdeathsig',
      'KILL',
      '--',
      `ceph-${daemon}`,
      '--conf',
      join(folder, 'ceph.conf'),
      '--id',
      id,
      '-f',
    ]
    return spawn('setpriv', argv, { stdio: ['ignore', out, out] }) // It ends with a test that is killed, too.
  } finally {
    closeSync(out)
  }
}

async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}

/** A key of Ceph: type, time, length, 16 bytes (src/auth/Crypto.cc). */
function newKey(): string {
  const head = Buffer.alloc(12)
  head.writeUInt16LE(1, 0)
  head.writeUInt32LE(Math.floor(Date.now() / 1000), 2)
  head.writeUInt16LE(16, 10)
  return Buffer.concat([head, randomBytes(16)]).toString('base64')
}
