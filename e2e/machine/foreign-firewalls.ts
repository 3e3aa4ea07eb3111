/** Firewalls of others, the real ones of Debian's packages: each rules one network namespace, and what it writes down is in a folder of its own. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { eventually } from './eventually.ts'
import type { Namespace } from './network-room.ts'

const run = promisify(execFile)
const startMs = 30_000
const timeout = 30_000

/** A firewall that is in force. */
export interface Firewall extends AsyncDisposable {
  /** Does a command of it, as somebody at a shell of that host would. */
  readonly do: (command: string) => Promise<string>
}

/** Starts firewalld with its defaults, on a bus of its own. */
export async function startFirewalld(host: Namespace): Promise<Firewall> {
  await using undo = new AsyncDisposableStack()
  const folder = await ownFolder(undo)
  const bus = join(folder, 'bus')
  await writeFile(join(folder, 'bus.conf'), busConfig(bus))
  await mkdir(join(folder, 'etc'))
  await writeFile(join(folder, 'etc/firewalld.conf'), 'DefaultZone=public\nFirewallBackend=nftables\n')
  const env = { ...process.env, DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${bus}` }
  const start = (...argv: readonly [string, ...string[]]) => startProgram(argv, env, undo)
  const say = async (command: string) =>
    (await run('sh', ['-c', inside(host, command)], { env, timeout })).stdout

  start('dbus-daemon', `--config-file=${join(folder, 'bus.conf')}`, '--nofork', '--nopidfile')
  await eventually(async () => ((await can(() => run('test', ['-S', bus]))) ? true : undefined), {
    withinMs: startMs,
    what: 'there is a bus',
  })
  const own = [
    '--nofork',
    '--nopid',
    '--system-config',
    join(folder, 'etc'),
    '--log-file',
    join(folder, 'log'),
  ]
  start('nsenter', `--net=${host.path}`, 'firewalld', ...own)
  await eventually(async () => ((await can(() => say('firewall-cmd --state'))) ? true : undefined), {
    withinMs: startMs,
    what: 'firewalld runs',
  })
  const kept = undo.move()
  return { do: say, [Symbol.asyncDispose]: () => kept.disposeAsync() }
}

/** Switches ufw on with its defaults; its configuration is a copy that only its own commands see. */
export async function startUfw(host: Namespace): Promise<Firewall> {
  await using undo = new AsyncDisposableStack()
  const folder = await ownFolder(undo)
  await run('cp', ['-a', '/etc/ufw', join(folder, 'etc')])
  await run('cp', ['-a', '/etc/default/ufw', join(folder, 'default')])
  const binds = `mount --make-rprivate / && mount --bind ${folder}/etc /etc/ufw && mount --bind ${folder}/default /etc/default/ufw`
  const say = async (command: string) =>
    (await run('sh', ['-c', inside(host, `unshare --mount sh -c '${binds} && ${command}'`)], { timeout }))
      .stdout
  await say('ufw --force reset')
  await say('ufw --force enable')
  const kept = undo.move()
  return { do: say, [Symbol.asyncDispose]: () => kept.disposeAsync() }
}

async function ownFolder(undo: AsyncDisposableStack): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kve-firewall-'))
  undo.defer(() => rm(folder, { recursive: true, force: true }))
  return folder
}

function inside({ path }: Namespace, command: string): string {
  return `nsenter --net=${path} ${command}`
}

function startProgram(
  [program, ...args]: readonly [string, ...string[]],
  env: NodeJS.ProcessEnv,
  undo: AsyncDisposableStack,
): void {
  const child = spawn(program, args, { env, stdio: 'ignore' })
  undo.defer(() => end(child))
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  assert.ok(child.kill('SIGTERM'))
  const impatient = setTimeout(() => child.kill('SIGKILL'), startMs)
  await ended
  clearTimeout(impatient)
}

async function can(does: () => Promise<unknown>): Promise<boolean> {
  return does().then(
    () => true,
    () => false,
  )
}

/** A bus on which root may do everything (dbus-daemon(1)). */
function busConfig(path: string): string {
  return `<busconfig><type>system</type><listen>unix:path=${path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/></policy></busconfig>
`
}
