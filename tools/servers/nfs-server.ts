/**
 * A server of NFS for tests: nfs-ganesha on the loopback, with ports of its own, and the portmapper that its clients ask for them. There
 * is one portmapper on a host, which knows one such server: the system's own is used where it runs, and a second server waits until the
 * first has ended.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { freePort } from './free-port.ts'

const upWithinMs = 120_000
/** Those who wait their turn do so for as long as the slowest tests have the server. */
const turnWithinMs = 900_000
const program = '/usr/bin/ganesha.nfsd'

export interface NfsServer extends AsyncDisposable {
  readonly address: '127.0.0.1'
  /** The folder that it exports under that path, to who is root too. */
  readonly folder: string
  /** Makes it neither answer nor end. */
  stop(): void
  goOn(): void
}

/** Starts a server of NFS, as root. */
export async function openNfsServer(): Promise<NfsServer> {
  const place = mkdtempSync(join(tmpdir(), 'kvasir-ganesha-'))
  const folder = join(place, 'export')
  mkdirSync(folder, { mode: 0o755 })
  await using undo = new AsyncDisposableStack()
  undo.defer(() => rmSync(place, { recursive: true, force: true }))
  undo.use(await takeTurn())
  const hasMapper = await answers(111)
  const mapper = hasMapper ? undefined : spawn('/usr/sbin/rpcbind', ['-f', '-w'], { stdio: 'ignore' })
  undo.defer(() => end(mapper))
  await untilAnswers(111, mapper)
  const [nfsPort, mountPort] = [await freePort(), await freePort()]
  const [conf, log] = [join(place, 'ganesha.conf'), join(place, 'ganesha.log')]
  writeFileSync(conf, configuration({ folder, nfsPort, mountPort }))
  const server = spawn(program, ['-F', '-f', conf, '-L', log, '-p', join(place, 'pid')], {
    stdio: 'ignore',
  })
  undo.defer(() => end(server))
  await untilAnswers(nfsPort, server).catch((cause: unknown) => {
    throw new Error(`nfs-ganesha does not come up: ${readFileSync(log, 'utf8').slice(-2000)}`, { cause })
  })
  const stack = undo.move()
  return {
    address: '127.0.0.1',
    folder,
    stop: () => void server.kill('SIGSTOP'),
    goOn: () => void server.kill('SIGCONT'),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

/** Waits until no other test has a server. flock(1) holds a lock on its program until it is told, or its stdin ends with this process. */
async function takeTurn(): Promise<AsyncDisposable> {
  const holder = spawn('flock', ['--no-fork', program, 'sh', '-c', 'echo; exec cat'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  try {
    await Promise.race([
      once(holder.stdout, 'data', { signal: AbortSignal.timeout(turnWithinMs) }),
      once(holder, 'exit').then(() => Promise.reject(new Error('flock ended before it had the lock.'))),
    ])
  } catch (cause) {
    await end(holder)
    throw new Error('No other test let go of its server of NFS.', { cause })
  }
  return { [Symbol.asyncDispose]: () => end(holder) }
}

function configuration({
  folder,
  nfsPort,
  mountPort,
}: {
  readonly folder: string
  readonly nfsPort: number
  readonly mountPort: number
}): string {
  return `NFS_CORE_PARAM {
  Protocols = 3; Bind_addr = 127.0.0.1; NFS_Port = ${nfsPort}; MNT_Port = ${mountPort};
  Enable_NLM = false; Enable_RQUOTA = false; mount_path_pseudo = false;
}
EXPORT {
  Export_Id = 1; Path = ${folder}; Pseudo = /export; Access_Type = RW; Squash = No_Root_Squash; SecType = sys;
  Protocols = 3; Transports = TCP; PrivilegedPort = true;
  FSAL { Name = VFS; }
}
`
}

async function answers(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port })
  return await once(socket, 'connect')
    .then(
      () => true,
      () => false,
    )
    .finally(() => socket.destroy())
}

async function untilAnswers(port: number, child: ChildProcess | undefined): Promise<void> {
  const deadline = performance.now() + upWithinMs
  while (!(await answers(port))) {
    const isOver = child !== undefined && (child.exitCode !== null || child.signalCode !== null)
    if (isOver || performance.now() > deadline) throw new Error(`Nothing listens on port ${port}.`)
    await pause(100)
  }
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}
