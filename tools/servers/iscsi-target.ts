/**
 * A server of iSCSI for tests: a tgtd of one's own on the loopback, with its own port and control socket, and files as its LUNs. The
 * system's tgtd, if there is one, is not touched.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { freePort } from './free-port.ts'

const run = promisify(execFile)
/** tgtd has no way to say that it is up but to answer. */
const upWithinMs = 60_000
const mostStarts = 5
/** tgtd takes no higher number for its control socket. */
const mostControl = 32_767

/** A target's CHAP. */
export interface Chap {
  readonly user: string
  readonly secret: string
}

export interface IscsiServer extends AsyncDisposable {
  readonly address: '127.0.0.1'
  readonly port: number
  /** The folder of the files that are its LUNs. */
  readonly folder: string
  /** Makes a target with LUNs 1, 2 ... of these sizes. */
  addTarget(name: string, sizes: readonly number[], chap?: Chap): Promise<void>
  /** The file behind a LUN of a target. */
  file(target: string, lun: number): string
  addLun(target: string, lun: number, size: number): Promise<void>
  removeLun(target: string, lun: number): Promise<void>
  /** Makes it neither answer nor end. */
  stop(): void
  goOn(): void
  /** Ends it with SIGKILL, and starts another one with the same targets on the same port. */
  killAndRestart(): Promise<void>
}

/** Starts a server of iSCSI, as root. */
export async function openIscsiServer(): Promise<IscsiServer> {
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-tgt-'))
  for (let start = 1; ; start += 1) {
    const port = await freePort()
    const control = randomInt(1, mostControl)
    const child = spawnServer(port, control)
    const isUp = await untilUp(child, control)
    if (isUp) return server(child, { port, control, folder })
    await end(child, control)
    if (start === mostStarts) {
      rmSync(folder, { recursive: true, force: true })
      throw new Error('tgtd does not come up.')
    }
  }
}

function spawnServer(port: number, control: number): ChildProcess {
  return spawn(
    '/usr/sbin/tgtd',
    ['-f', '--iscsi', `portal=127.0.0.1:${port}`, '--control-port', String(control)],
    { stdio: 'ignore' },
  )
}

interface Target {
  readonly name: string
  readonly luns: Set<number>
  readonly chap: Chap | undefined
}

function server(
  first: ChildProcess,
  { port, control, folder }: { readonly port: number; readonly control: number; readonly folder: string },
): IscsiServer {
  let child = first
  const targets: Target[] = []
  const tell = (op: string, mode: string, ...args: readonly string[]) =>
    tgtadm(control, '--op', op, '--mode', mode, ...args)
  const idOf = (target: string) => {
    const index = targets.findIndex(({ name }) => name === target)
    if (index < 0) throw new Error(`There is no target ${target}.`)
    return String(index + 1)
  }
  const file = (target: string, lun: number) => join(folder, `${idOf(target)}-${lun}`)
  const showLun = async (target: string, lun: number) => {
    const what = ['--tid', idOf(target), '--lun', String(lun), '--backing-store', file(target, lun)]
    await tell('new', 'logicalunit', ...what)
  }
  const showTarget = async ({ name, luns, chap }: Target) => {
    const id = idOf(name)
    await tell('new', 'target', '--tid', id, '--targetname', name)
    for (const lun of luns) await showLun(name, lun)
    if (chap) {
      await tell('new', 'account', '--user', chap.user, '--password', chap.secret)
      await tell('bind', 'account', '--user', chap.user, '--tid', id)
    }
    await tell('bind', 'target', '--tid', id, '--initiator-address', 'ALL')
  }
  const makeFile = (target: string, lun: number, size: number) => {
    writeFileSync(file(target, lun), '')
    truncateSync(file(target, lun), size)
  }
  return {
    address: '127.0.0.1',
    port,
    folder,
    file,
    async addLun(name, lun, size) {
      makeFile(name, lun, size)
      targets.find((target) => target.name === name)?.luns.add(lun)
      await showLun(name, lun)
    },
    async addTarget(name, sizes, chap) {
      const target: Target = { name, luns: new Set(sizes.keys().map((index) => index + 1)), chap }
      targets.push(target)
      for (const [index, size] of sizes.entries()) makeFile(name, index + 1, size)
      await showTarget(target)
    },
    async removeLun(name, lun) {
      targets.find((target) => target.name === name)?.luns.delete(lun)
      await tell('delete', 'logicalunit', '--tid', idOf(name), '--lun', String(lun))
    },
    stop: () => void child.kill('SIGSTOP'),
    goOn: () => void child.kill('SIGCONT'),
    async killAndRestart() {
      await end(child, control)
      child = spawnServer(port, control)
      if (!(await untilUp(child, control))) throw new Error('tgtd does not come up again.')
      for (const target of targets) await showTarget(target)
    },
    async [Symbol.asyncDispose]() {
      await end(child, control)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function tgtadm(control: number, ...args: readonly string[]): Promise<void> {
  await run('/usr/sbin/tgtadm', ['--lld', 'iscsi', '--control-port', String(control), ...args], {
    timeout: 60_000,
  })
}

async function untilUp(child: ChildProcess, control: number): Promise<boolean> {
  const deadline = performance.now() + upWithinMs
  while (child.exitCode === null && child.signalCode === null && performance.now() < deadline) {
    const isUp = await tgtadm(control, '--op', 'show', '--mode', 'target').then(
      () => true,
      () => false,
    )
    if (isUp) return true
    await pause(100)
  }
  return false
}

async function end(child: ChildProcess, control: number): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  for (const name of [`socket.${control}`, `socket.${control}.lock`])
    rmSync(join('/var/run/tgtd', name), { force: true })
}
