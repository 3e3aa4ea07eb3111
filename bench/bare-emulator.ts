/**
 * The peer of a start: a QEMU with the argv of a VM of ours, started by hand. No cage, no store, no job; as root, in this process's
 * namespaces and cgroup. Its monitor speaks on a socket that is connected before it starts, so that nothing is waited for but QEMU.
 */
import { type ChildProcess, spawn } from 'node:child_process'
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
import { Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { connectPair, type SocketEnd } from '@kvasir/linux'
import type { Place } from '../e2e/machine/place.ts'
import { type BareArgv, bareArgv, type NamedDescriptor } from './bare-argv.ts'
import { timed } from './interleave.ts'

const closeFile = promisify(close)
const answerMs = 30_000
const helperMs = 5_000

/** A tap that somebody made, and the path of the network namespace in which it is. */
export interface BareTap {
  readonly name: string
  readonly network: string
}

/** How to start a QEMU like that of a VM. */
export interface BareEmulator {
  /** From the exec to the answer to `cont`, in milliseconds. A network helper runs before that. */
  measure(): Promise<number>
  /** The same, of one that stays until it is ended; only where the VM has no helper. */
  start(): Promise<{ readonly ms: number; readonly end: () => Promise<void> }>
  /** How long a network helper takes until it listens; only where the VM has a NIC. */
  measureHelper(): Promise<number>
  readonly hasNic: boolean
}

/**
 * Learns from a running VM of the place how its QEMU is started. The VM must be off when the bare one is started, whose disks are the
 * files that `fileOf` names by the labels of the argv, or the only volume that the place has. Several of one VM need a name each.
 */
export function likeRunning(
  pid: number,
  place: Place,
  fileOf: (label: string) => string = (label) => onlyVolumeOf(label, place),
  { name = '', tap }: { readonly name?: string; readonly tap?: BareTap } = {},
): BareEmulator {
  const directory = join(place.base, `bare-${pid}${name}`)
  mkdirSync(directory, { recursive: true })
  const places: Record<string, string> = { '/run/vm/': `${directory}/` }
  for (const file of ['/boot/kernel', '/boot/initrd'] as const) {
    const copy = join(directory, file.slice('/boot/'.length))
    if (lstatSync(`/proc/${pid}/root${file}`, { throwIfNoEntry: false })) {
      copyFileSync(`/proc/${pid}/root${file}`, copy)
      places[file] = copy
    }
  }
  const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1)
  const adapted = tap ? ['nsenter', `--net=${tap.network}`, ...onTap(words, tap)] : words
  const bare = bareArgv(adapted, places)
  const hasNic = bare.descriptors.some(({ kind }) => kind === 'nic')
  return {
    hasNic,
    async measure() {
      if (!hasNic) return await startAndQuit(bare, { directory, fileOf })
      const [end, helperEnd] = await connectPair(directory)
      try {
        await startHelper(helperEnd)
        return await startAndQuit(bare, { directory, fileOf, nicFd: end.fd })
      } finally {
        helperEnd.release()
        end.release() // passt ends with its only connection.
      }
    },
    start: () => startBare(bare, { directory, fileOf }),
    async measureHelper() {
      if (!hasNic) throw new Error('The VM has no NIC, so no helper either.')
      const [end, helperEnd] = await connectPair(directory)
      const ms = await timed(() => startHelper(helperEnd))
      helperEnd.release()
      end.release()
      return ms
    },
  }
}

interface Where {
  readonly directory: string
  readonly fileOf: (label: string) => string
  /** QEMU's end of the NIC's socket. */
  readonly nicFd?: number
}

async function startAndQuit(bare: BareArgv, where: Where): Promise<number> {
  const { ms, end } = await startBare(bare, where)
  await end()
  return ms
}

async function startBare(
  bare: BareArgv,
  where: Where,
): Promise<{ readonly ms: number; readonly end: () => Promise<void> }> {
  const files: number[] = []
  const stdio = stdioOf(bare.descriptors, (descriptor) => {
    if (descriptor.kind === 'nic' && where.nicFd !== undefined) return where.nicFd
    const fd = openDescriptor(descriptor, where)
    files.push(fd)
    return fd
  })
  const [program = '', ...args] = bare.argv
  let qemu: ChildProcess | undefined
  const leave = async () => {
    await endChild(qemu)
    for (const fd of files) await closeFile(fd)
    rmSync(join(where.directory, 'vnc.sock'), { force: true })
  }
  try {
    const ms = await timed(async () => {
      qemu = spawn(program, args, { stdio })
      for (const end of qemu.stdio) end?.on('error', () => {}) // It is killed while it speaks.
      await askToRun(qemu, bare.descriptors)
    })
    return { ms, end: leave }
  } catch (error) {
    await leave()
    throw error
  }
}

/** The same argv on a tap that is there, which QEMU opens by its name; vhost is not asked for, as where the VM has none. */
function onTap(words: readonly string[], { name }: BareTap): readonly string[] {
  return words.map((word, at) => {
    if (words[at - 1] !== '-netdev') return word
    const id = /"id":"([^"]+)"|\bid=([^,]+)/.exec(word)
    return `tap,id=${id?.[1] ?? id?.[2]},ifname=${name},script=no,downscript=no`
  })
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

function openDescriptor({ label }: NamedDescriptor, where: Where): number {
  if (label === 'serial-log') return openSync(join(where.directory, 'serial.log'), 'w')
  return openSync(where.fileOf(label), label.startsWith('base') ? 'r' : 'r+') // A base is only read.
}

/** Most benchmarks compare VMs of one disk. */
function onlyVolumeOf(label: string, place: Place): string {
  const volumes = join(place.stateDir, 'volumes')
  const [volume, another] = readdirSync(volumes)
  if (volume === undefined || another !== undefined)
    throw new Error(`${label} of the VM is one of several volumes, so its file is not known.`)
  return join(volumes, volume)
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

/** passt with the flags that the daemon gives it, until it serves: then it goes into the background. */
async function startHelper(socket: SocketEnd): Promise<void> {
  const flags = '--quiet --no-map-gw --fd 3 --runas 0:0 --tcp-ports none --udp-ports none'.split(' ')
  const passt = spawn('passt', flags, {
    stdio: ['ignore', 'ignore', 'ignore', socket.fd],
    timeout: helperMs,
  })
  const [code] = await once(passt, 'exit')
  if (code !== 0) throw new Error(`passt ended with ${code}, so the bare QEMU has no network.`)
}

async function endChild(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}
