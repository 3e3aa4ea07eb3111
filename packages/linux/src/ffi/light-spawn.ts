/**
 * Starts programs by posix_spawn(3), called in this process. libuv forks, and the kernel then copies the page tables of the whole process
 * while its only thread waits: 1.5 ms for a small one and 0.1 ms more for each MiB (measured; 10 ms for the daemon). posix_spawn shares the
 * memory until the program runs (glibc: sysdeps/unix/sysv/linux/spawni.c, CLONE_VM | CLONE_VFORK), which takes 0.5 ms whatever there is.
 *
 * node:ffi still changes from version to version, so whoever calls has another way for when there is none, or it does not go.
 */
import { closeSync } from 'node:fs'
import { constants } from 'node:os'

/** How a process ended: its exit code, or the signal that ended it. */
export interface LightExit {
  readonly code: number | undefined
  readonly signal: string | undefined
}

/** A process that was started so. */
export interface LightProcess {
  readonly pid: number
  /** Resolves when it has ended, and keeps no process alive that waits for nothing else. */
  readonly exited: Promise<LightExit>
}

/** Ends of a connection, as descriptors that no program inherits. */
export type DescriptorPair = readonly [number, number]

const int = 'int32' as const
const pointer = 'pointer' as const
const calls = {
  socketpair: { return: int, arguments: [int, int, int, pointer] },
  waitpid: { return: int, arguments: [int, pointer, int] },
  posix_spawn: { return: int, arguments: [pointer, pointer, pointer, pointer, pointer, pointer] },
  posix_spawn_file_actions_init: { return: int, arguments: [pointer] },
  posix_spawn_file_actions_destroy: { return: int, arguments: [pointer] },
  posix_spawn_file_actions_addopen: { return: int, arguments: [pointer, int, pointer, int, int] },
  posix_spawn_file_actions_adddup2: { return: int, arguments: [pointer, int, int] },
  posix_spawn_file_actions_addchdir_np: { return: int, arguments: [pointer, pointer] },
  posix_spawnattr_init: { return: int, arguments: [pointer] },
  posix_spawnattr_destroy: { return: int, arguments: [pointer] },
  posix_spawnattr_setflags: { return: int, arguments: [pointer, 'int16'] },
  posix_spawnattr_setsigmask: { return: int, arguments: [pointer, pointer] },
  posix_spawnattr_setsigdefault: { return: int, arguments: [pointer, pointer] },
} as const

/** The layouts below are of these, with glibc: 64-bit pointers, least byte first. */
const known: readonly string[] = ['x64', 'arm64']
/** More than any of the two structures takes (spawn.h: 80 and 336 bytes). */
const structureBytes = 512
const signalSetBytes = 128
/** Signals 1 to 31: this process ignores SIGPIPE, and what is ignored stays so in a program (execve(2)). */
const usualSignals = 0x7fffffff
// spawn.h, sys/socket.h, fcntl.h, sys/wait.h
const [SETSIGDEF, SETSIGMASK, SETSID] = [0x04, 0x08, 0x80]
const [AF_UNIX, SOCK_STREAM, SOCK_CLOEXEC] = [1, 1, 0o2000000]
const [O_RDWR, WNOHANG] = [2, 1]

type Ffi = NonNullable<ReturnType<typeof ffiOfThisNode>>
type Library = ReturnType<typeof open>

/** Starts programs and hears how they end. */
export class LightSpawner {
  readonly #ffi: Ffi
  readonly #libc: Library
  readonly #running = new Map<number, (exit: LightExit) => void>()
  readonly #reap = () => this.#hearEnds()

  private constructor(ffi: Ffi, libc: Library) {
    this.#ffi = ffi
    this.#libc = libc
  }

  /** Undefined where programs are not started so: another processor, or a Node that knows these calls no more. */
  static open(): LightSpawner | undefined {
    const ffi = ffiOfThisNode()
    if (!known.includes(process.arch) || ffi === undefined) return undefined
    try {
      return new LightSpawner(ffi, open(ffi))
    } catch {
      return undefined
    }
  }

  /** A connection of two UNIX stream sockets; undefined when there is none to be had. */
  socketPair(): DescriptorPair | undefined {
    const pair = Buffer.alloc(8)
    if (this.#call('socketpair', AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) !== 0) return undefined
    return [pair.readInt32LE(0), pair.readInt32LE(4)]
  }

  /**
   * Starts a program, by its absolute path, in a session of its own, at /, without an environment. It has /dev/null as 0, 1 and 2, and
   * our descriptors under the numbers that they are listed by; none of ours may have one of these numbers. Undefined when it did not
   * start; everything is as before then.
   */
  spawn(
    [program, ...args]: readonly [string, ...string[]],
    descriptors: ReadonlyMap<number, number>,
  ): LightProcess | undefined {
    const highest = Math.max(2, ...descriptors.keys())
    if ([...descriptors.values()].some((fd) => fd <= highest)) return undefined
    using actions = this.#structure('posix_spawn_file_actions_init', 'posix_spawn_file_actions_destroy')
    using attributes = this.#structure('posix_spawnattr_init', 'posix_spawnattr_destroy')
    const path = text(program)
    const words = [path, ...args.map(text)]
    const argv = Buffer.alloc(8 * (words.length + 1))
    for (const [index, word] of words.entries())
      argv.writeBigUInt64LE(this.#ffi.getRawPointer(word), 8 * index)
    const root = text('/')
    const nothing = text('/dev/null')
    const defaults = Buffer.alloc(signalSetBytes)
    defaults.writeUInt32LE(usualSignals, 0)
    const none = Buffer.alloc(signalSetBytes)
    const pid = Buffer.alloc(4)
    const file = actions.bytes
    const failures = [
      this.#call('posix_spawn_file_actions_addchdir_np', file, root),
      this.#call('posix_spawn_file_actions_addopen', file, 0, nothing, O_RDWR, 0),
      ...[1, 2].map((fd) => this.#call('posix_spawn_file_actions_adddup2', file, 0, fd)),
      ...[...descriptors].map(([fd, own]) => this.#call('posix_spawn_file_actions_adddup2', file, own, fd)),
      this.#call('posix_spawnattr_setsigmask', attributes.bytes, none),
      this.#call('posix_spawnattr_setsigdefault', attributes.bytes, defaults),
      this.#call('posix_spawnattr_setflags', attributes.bytes, SETSIGDEF | SETSIGMASK | SETSID),
    ]
    if (failures.some((failure) => failure !== 0)) return undefined
    // Heard from now on, so that a program that ends at once is not missed.
    if (this.#running.size === 0) process.on('SIGCHLD', this.#reap)
    const refusal = this.#call('posix_spawn', pid, path, file, attributes.bytes, argv, Buffer.alloc(8))
    const { promise, resolve } = Promise.withResolvers<LightExit>()
    if (refusal === 0) this.#running.set(pid.readInt32LE(), resolve)
    if (this.#running.size === 0) process.off('SIGCHLD', this.#reap)
    // The words are held until the program has them: used once more.
    return refusal === 0 && words.length > 0 ? { pid: pid.readInt32LE(), exited: promise } : undefined
  }

  /** Signals may be lost when several come at once, so each process is asked for. */
  #hearEnds(): void {
    const status = Buffer.alloc(4)
    for (const [pid, settle] of this.#running) {
      if (this.#call('waitpid', pid, status, WNOHANG) !== pid) continue
      this.#running.delete(pid)
      settle(exitOf(status.readInt32LE()))
    }
    if (this.#running.size === 0) process.off('SIGCHLD', this.#reap)
  }

  #structure(make: keyof typeof calls, destroy: keyof typeof calls): Disposable & { readonly bytes: Buffer } {
    const bytes = Buffer.alloc(structureBytes)
    this.#call(make, bytes)
    return { bytes, [Symbol.dispose]: () => void this.#call(destroy, bytes) }
  }

  #call(name: keyof typeof calls, ...args: readonly (number | Buffer)[]): number {
    const words = args.map((arg) => (typeof arg === 'number' ? arg : this.#ffi.getRawPointer(arg)))
    const call = this.#libc.functions[name] as (...words: (number | bigint)[]) => number
    return call(...words)
  }
}

/** Closes descriptors of a pair; no error for what is closed already. */
export function closeDescriptors(...descriptors: readonly number[]): void {
  for (const fd of descriptors)
    try {
      closeSync(fd)
    } catch {
      // It was closed already.
    }
}

function ffiOfThisNode() {
  return process.getBuiltinModule('node:ffi')
}

function open(ffi: Ffi) {
  return ffi.dlopen(null, calls)
}

function text(word: string): Buffer {
  return Buffer.from(`${word}\0`)
}

/** What waitpid(2) says (bits/waitstatus.h). */
function exitOf(status: number): LightExit {
  const number = status & 0x7f
  if (number === 0) return { code: (status >> 8) & 0xff, signal: undefined }
  const signal = Object.entries(constants.signals).find(([, value]) => value === number)?.[0]
  return { code: undefined, signal: signal ?? `signal ${number}` }
}
