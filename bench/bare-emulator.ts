/**
 * The peer of a start: a QEMU with the argv of a VM of ours, started by hand. No cage, no store, no job; as root, in this process's
 * namespaces and cgroup. Its monitor speaks on a socket that is connected before it starts, so that nothing is waited for but QEMU.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  close,
  copyFileSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs'
import { connect, Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Place } from '../e2e/machine/place.ts'
import { type BareArgv, bareArgv, type NamedDescriptor } from './bare-argv.ts'
import { timed } from './interleave.ts'

const closeFile = promisify(close)
const run = promisify(execFile)
const answerMs = 30_000
const helperMs = 5_000

/** How to start a QEMU like that of a VM. */
export interface BareEmulator {
  /** From the exec to the answer to `cont`, in milliseconds. A network helper runs before that. */
  measure(): Promise<number>
  /** How long a network helper takes until it listens; only where the VM has a NIC. */
  measureHelper(): Promise<number>
  readonly hasNic: boolean
}

/** Learns from a running VM of the place how its QEMU is started. The VM must be off when the bare one is started. */
export function likeRunning(pid: number, place: Place): BareEmulator {
  const directory = join(place.base, `bare-${pid}`)
  mkdirSync(directory, { recursive: true })
  const places: Record<string, string> = { '/run/net/': `${directory}/`, '/run/vm/': `${directory}/` }
  for (const file of ['/boot/kernel', '/boot/initrd'] as const) {
    const copy = join(directory, file.slice('/boot/'.length))
    if (lstatSync(`/proc/${pid}/root${file}`, { throwIfNoEntry: false })) {
      copyFileSync(`/proc/${pid}/root${file}`, copy)
      places[file] = copy
    }
  }
  const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1)
  const bare = bareArgv(words, places)
  const netSocket = /"path":"([^"]+\.net)"/.exec(bare.argv.join(' '))?.[1]
  return {
    hasNic: netSocket !== undefined,
    async measure() {
      if (netSocket !== undefined) await startHelper(netSocket)
      try {
        return await startAndQuit(bare, { directory, place })
      } finally {
        if (netSocket !== undefined) await endHelper(netSocket)
      }
    },
    async measureHelper() {
      if (netSocket === undefined) throw new Error('The VM has no NIC, so no helper either.')
      const ms = await timed(() => startHelper(netSocket))
      await endHelper(netSocket)
      return ms
    },
  }
}

async function startAndQuit(
  bare: BareArgv,
  where: { readonly directory: string; readonly place: Place },
): Promise<number> {
  const files: number[] = []
  const stdio = stdioOf(bare.descriptors, (descriptor) => {
    const fd = openDescriptor(descriptor, where)
    files.push(fd)
    return fd
  })
  const [program = '', ...args] = bare.argv
  let qemu: ChildProcess | undefined
  try {
    const ms = await timed(async () => {
      qemu = spawn(program, args, { stdio })
      await askToRun(qemu, bare.descriptors)
    })
    await end(qemu)
    return ms
  } finally {
    qemu?.kill('SIGKILL')
    for (const fd of files) await closeFile(fd)
    rmSync(join(where.directory, 'vnc.sock'), { force: true })
  }
}

type Stdio = ('ignore' | 'pipe' | number)[]

function stdioOf(
  descriptors: readonly NamedDescriptor[],
  openFile: (descriptor: NamedDescriptor) => number,
): Stdio {
  const stdio: Stdio = Array.from(
    { length: Math.max(2, ...descriptors.map(({ fd }) => fd)) + 1 },
    () => 'ignore',
  )
  for (const descriptor of descriptors)
    stdio[descriptor.fd] = descriptor.kind === 'socket' ? 'pipe' : openFile(descriptor)
  return stdio
}

/** The serial log, or the only volume that the place has: benchmarks compare VMs of one disk. */
function openDescriptor(
  { label }: NamedDescriptor,
  where: { readonly directory: string; readonly place: Place },
): number {
  if (label === 'serial-log') return openSync(join(where.directory, 'serial.log'), 'w')
  const volumes = join(where.place.stateDir, 'volumes')
  const [volume, another] = readdirSync(volumes)
  if (volume === undefined || another !== undefined)
    throw new Error(`${label} of the VM is one of several volumes, so its file is not known.`)
  return openSync(join(volumes, volume), 'r+')
}

/** The monitor's handshake, and `cont`. */
async function askToRun(qemu: ChildProcess, descriptors: readonly NamedDescriptor[]): Promise<void> {
  const monitor: unknown = qemu.stdio[descriptors.find(({ label }) => label === 'monitor')?.fd ?? -1]
  if (!(monitor instanceof Socket)) throw new Error('The argv has no monitor, so QEMU cannot be told to run.')
  const lines = createInterface({ input: monitor })[Symbol.asyncIterator]()
  const answer = async (): Promise<string> => {
    for (;;) {
      const next = await Promise.race([lines.next(), pause(answerMs, undefined, { ref: false })])
      if (next === undefined || next.done === true) throw new Error('The bare QEMU ended or is silent.')
      if (!next.value.includes('"event"')) return next.value
    }
  }
  await answer()
  for (const command of ['qmp_capabilities', 'cont']) {
    monitor.write(`{"execute":"${command}"}\n`)
    const line = await answer()
    if (!line.includes('"return"')) throw new Error(`The bare QEMU refused ${command}: ${line}`)
  }
}

/** passt with the flags that the daemon gives it, until it listens: then it goes into the background. */
async function startHelper(socket: string): Promise<void> {
  rmSync(socket, { force: true })
  const flags = [
    '--quiet',
    '--one-off',
    '--no-map-gw',
    '--runas',
    '0:0',
    '--tcp-ports',
    'none',
    '--udp-ports',
    'none',
  ]
  await run('passt', [...flags, '--socket', socket], { timeout: helperMs })
}

/** passt ends with its only connection: one is made in case QEMU made none. */
async function endHelper(socket: string): Promise<void> {
  const peer = connect(socket)
  await Promise.race([once(peer, 'connect'), once(peer, 'error')]).catch(() => undefined)
  peer.destroy()
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}
