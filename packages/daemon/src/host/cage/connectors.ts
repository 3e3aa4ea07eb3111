/**
 * Connectors of VMs: who connects to servers for a caged program (connector.pl) is started when the first server is given to it, which
 * may be long after its start, and started anew when it has died.
 *
 * The listener of the program's connects is with the keeper of its logs (launcher.pl), root's and in the program's cgroup. A connector
 * takes a copy of it. Nothing is written down: who has it and whether a connector runs is seen in /proc. Until there is a connector, a
 * connect to an address of IPv4 or IPv6 waits; the program then waits for nobody but itself.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFile, stat } from 'node:fs/promises'
import type { Writable } from 'node:stream'
import { COMMAND_PATH, readDescriptors } from '@kvasir/linux'
import { reachLines } from '../../model/storage/reach.ts'
import type { CageGroups } from './cage-groups.ts'
import { type CageReach, connectorProgram, perl } from './launcher-script.ts'

/** What a listener is called in /proc/PID/fd (kernel/seccomp.c). */
export const listenerName = 'anon_inode:seccomp notify'

/** Of `$0` in connector.pl, which the kernel cuts (prctl(2): PR_SET_NAME). */
const connectorName = 'kvasir-connect'

const TIMEOUT_MS = 10_000
const COMPLAINT_LIMIT = 200

/** A caged program that servers are given to. */
export interface ConnectedProgram {
  readonly groups: Pick<CageGroups, 'path' | 'processes'>
  readonly group: string
  readonly pid: number
  readonly reach: CageReach
}

/** Sees to it that a program has a connector. Answers why it cannot have one, as a clause; undefined when it has. */
export async function ensureConnector(program: ConnectedProgram): Promise<string | undefined> {
  if ((await findConnector(program)) !== undefined) return undefined
  const keeper = await findListener(program)
  if (keeper === undefined) return 'nobody has the listener of its connects'
  return await start(program, keeper)
}

/** The pid of the program's connector. */
export async function findConnector({
  groups,
  group,
}: Pick<ConnectedProgram, 'groups' | 'group'>): Promise<number | undefined> {
  for (const pid of await groups.processes(group)) {
    const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')
    if (name.startsWith(connectorName) && (await isOfRoot(pid))) return pid
  }
  return undefined
}

interface Listener {
  readonly pid: number
  readonly descriptor: number
}

/** Never the program's own: that would be a listener of something else, or a breach (inspect-cage.ts). */
async function findListener({
  groups,
  group,
  pid: program,
}: ConnectedProgram): Promise<Listener | undefined> {
  for (const pid of await groups.processes(group)) {
    if (pid === program || !(await isOfRoot(pid))) continue
    for (const [descriptor, name] of await readDescriptors(pid))
      if (name === listenerName) return { pid, descriptor }
  }
  return undefined
}

async function isOfRoot(pid: number): Promise<boolean> {
  return (await stat(`/proc/${pid}`).catch(() => undefined))?.uid === 0
}

async function start(
  { groups, group, pid, reach }: ConnectedProgram,
  listener: Listener,
): Promise<string | undefined> {
  const enterGroup = 'echo $$ > "$1/cgroup.procs" || exit 70; shift; exec "$@"'
  const lines = reachLines(reach.allowed)
  const words = [perl, connectorProgram, process.arch, String(pid), reach.file ?? '', ...lines]
  const child = spawn('/bin/sh', ['-c', enterGroup, 'kvasir-connector', groups.path(group), ...words], {
    detached: true,
    cwd: '/',
    env: { PATH: COMMAND_PATH, LC_ALL: 'C' },
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
  })
  child.unref()
  const said = await conversation(child, `${listener.descriptor} ${listener.pid}\n`)
  if (said === 'k') return undefined
  child.kill('SIGKILL')
  return `who would connect for it ended: ${said || 'it said nothing'}`
}

/** What a connector says to its orders before it ends, or goes about its work. */
async function conversation(child: ChildProcess, orders: string): Promise<string> {
  const [, , , to, from] = child.stdio
  if (!to || !from || !('write' in to) || !('read' in from)) return 'it could not be started'
  const { promise, resolve } = Promise.withResolvers<string>()
  let said = ''
  const end = () => resolve(said)
  child.once('error', (error) => resolve(error.message))
  from.on('data', (chunk: Buffer) => {
    said = `${said}${chunk.toString('latin1')}`.slice(0, COMPLAINT_LIMIT)
    if (said === 'k') resolve(said)
  })
  for (const end_ of [to, from]) end_.on('error', () => {}) // `close` follows.
  from.once('close', end)
  const deadline = setTimeout(() => resolve('it was not ready in time'), TIMEOUT_MS)
  ;(to as Writable).end(orders)
  try {
    return await promise
  } finally {
    clearTimeout(deadline)
    from.destroy()
    to.destroy()
  }
}
