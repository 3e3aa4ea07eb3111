/**
 * The serial console of one VM: one connection to its emulator, many viewers, at most one writer.
 *
 *     idle ──join──▶ connected ◀──reconnect── broken
 *       ▲               │  │                     ▲
 *       └──last leaves──┘  └──socket breaks──────┘      ended ◀── the VM ended, from any state
 *
 * The connection is always read, however slow a viewer is: a console that is not read would make the guest wait. A viewer that does
 * not keep up is dropped. What was said before somebody came is read from the log on disk (join-scrollback.ts).
 *
 * Not here: WebSockets (api/streams), tickets.
 */
import type { Duplex } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { KvasirError } from '@kvasir/contract'
import type { ConsoleSources } from './console-desk.ts'
import { joinScrollback } from './join-scrollback.ts'
import { RecentBytes } from './recent-bytes.ts'
import type { ConsoleMode, Grant } from './tickets.ts'

/** The bounds of one console. */
export const consoleLimits = {
  viewers: 32,
  /** What a viewer is shown of the past. */
  scrollbackBytes: 64 * 1024,
  /** What a viewer may leave unread before it is dropped. */
  unreadBytes: 1024 * 1024,
  /** What may wait for a guest that does not read its console. */
  inputBytes: 64 * 1024,
  /** How long the connection outlives its last viewer. */
  lingerMs: 2_000,
  /** How long a broken connection is tried again. */
  reconnectMs: 15_000,
} as const

const reconnectPauseMs = 200

/** What a viewer may do. */
export type ViewerMode = 'read' | 'write'

/** Somebody who watches. None of these may block. */
export interface ConsoleViewer {
  output(bytes: Uint8Array): void
  /** Bytes given to it that have not left yet. */
  unreadBytes(): number
  notice(text: string, mode: ViewerMode): void
  /** The console is over: the VM ended, or the viewer is too slow. */
  end(why: 'ended' | 'too-slow', reason: string): void
}

/** A viewer's seat. */
export interface ConsoleSession {
  readonly vmName: string
  readonly mode: ViewerMode
  /** What was said before: the log's end, joined to what came since. */
  readonly scrollback: Uint8Array
  /** Begins to show: everything said after `scrollback`, in order. Call once. */
  watch(viewer: ConsoleViewer): void
  /** Types. Readers' words are not passed on; false when these bytes were not taken. */
  write(bytes: Uint8Array): boolean
  /** Frees the seat. Safe to repeat. */
  leave(): void
}

interface Seat {
  viewer: ConsoleViewer | undefined
  mode: ViewerMode
  /** What came between the scrollback and `watch`. */
  early: Uint8Array[]
}

export class ConsoleHub {
  readonly #vm: Pick<Grant, 'vmId' | 'vmName'>
  readonly #sources: ConsoleSources
  readonly #onEmpty: () => void
  readonly #seats = new Set<Seat>()
  readonly #recent = new RecentBytes(consoleLimits.scrollbackBytes)
  readonly #life = new AbortController()
  #joining = 0
  #connecting: Promise<Duplex> | undefined
  #serial: Duplex | undefined
  #linger: AbortController | undefined

  constructor(vm: Pick<Grant, 'vmId' | 'vmName'>, sources: ConsoleSources, onEmpty: () => void) {
    this.#vm = vm
    this.#sources = sources
    this.#onEmpty = onEmpty
  }

  /** `console-taken` when `write` is wanted while somebody else writes. */
  refuseIfTaken(mode: ConsoleMode): void {
    if (mode !== 'write' || !this.#writer()) return
    throw new KvasirError(
      'console-taken',
      `Somebody else is writing to the console of VM ${this.#vm.vmName}, so it can only be watched or taken over.`,
    )
  }

  /** Takes a seat; connects when nobody was here. */
  async join(mode: ConsoleMode): Promise<ConsoleSession> {
    this.refuseIfTaken(mode)
    if (this.#seats.size + this.#joining >= consoleLimits.viewers)
      throw new KvasirError(
        'too-many-requests',
        `${consoleLimits.viewers} people watch the console of VM ${this.#vm.vmName}, so no more are let in.`,
      )
    this.#linger?.abort()
    this.#joining++
    try {
      await this.#connect()
      const log = await this.#sources.readScrollback(this.#vm.vmId, consoleLimits.scrollbackBytes)
      // QEMU writes to the socket before the log, so what the log ends with is at least waiting in our socket: let it be read.
      await nextTurn()
      await nextTurn()
      this.#life.signal.throwIfAborted()
      // From here to the return nothing is awaited, so no byte comes between the scrollback and the seat.
      this.refuseIfTaken(mode)
      return this.#sit(mode, joinScrollback(log, this.#recent.read()))
    } finally {
      this.#joining--
      this.#lingerIfEmpty()
    }
  }

  /** The VM ended: tells every viewer. */
  end(reason: string): void {
    if (this.#life.signal.aborted) return
    this.#life.abort(
      new KvasirError('wrong-state', `The console of VM ${this.#vm.vmName} has ended: ${reason}.`),
    )
    this.#linger?.abort()
    this.#serial?.destroy()
    for (const seat of this.#seats) seat.viewer?.end('ended', reason)
    this.#seats.clear()
    this.#onEmpty()
  }

  #writer(): Seat | undefined {
    for (const seat of this.#seats) if (seat.mode === 'write') return seat
    return undefined
  }

  #sit(mode: ConsoleMode, scrollback: Uint8Array): ConsoleSession {
    if (mode === 'take-over') this.#dethrone()
    const seat: Seat = { viewer: undefined, mode: mode === 'read' ? 'read' : 'write', early: [] }
    this.#seats.add(seat)
    return {
      vmName: this.#vm.vmName,
      get mode() {
        return seat.mode
      },
      scrollback,
      watch: (viewer) => this.#watch(seat, viewer),
      write: (bytes) => this.#write(seat, bytes),
      leave: () => this.#leave(seat),
    }
  }

  #watch(seat: Seat, viewer: ConsoleViewer): void {
    if (!this.#seats.has(seat)) {
      viewer.end('ended', 'the console has ended')
      return
    }
    seat.viewer = viewer
    for (const chunk of seat.early) viewer.output(chunk)
    seat.early = []
  }

  #dethrone(): void {
    const writer = this.#writer()
    if (!writer) return
    writer.mode = 'read'
    writer.viewer?.notice('Somebody else took over the console; you can go on watching.', 'read')
  }

  #write(seat: Seat, bytes: Uint8Array): boolean {
    const serial = this.#serial
    if (seat.mode !== 'write' || !this.#seats.has(seat) || !serial?.writable) return false
    if (serial.writableLength + bytes.length > consoleLimits.inputBytes) return false
    serial.write(bytes)
    return true
  }

  #leave(seat: Seat): void {
    if (this.#seats.delete(seat)) this.#lingerIfEmpty()
  }

  #lingerIfEmpty(): void {
    if (this.#seats.size + this.#joining > 0 || this.#life.signal.aborted) return
    const linger = new AbortController()
    this.#linger = linger
    const over = () => {
      this.#life.abort(new Error('Nobody watches.'))
      this.#serial?.destroy()
      this.#onEmpty()
    }
    // Without a connection there is nothing worth keeping.
    if (!this.#serial) {
      over()
      return
    }
    this.#sources.clock.sleep(consoleLimits.lingerMs, linger.signal).then(over, () => {})
  }

  async #connect(): Promise<Duplex> {
    if (this.#serial) return this.#serial
    this.#connecting ??= this.#open().finally(() => {
      this.#connecting = undefined
    })
    return await this.#connecting
  }

  async #open(): Promise<Duplex> {
    const serial = await this.#sources.openSerial(this.#vm.vmId)
    if (this.#life.signal.aborted) {
      serial.destroy()
      throw this.#life.signal.reason
    }
    this.#recent.clear()
    this.#serial = serial
    serial.on('data', (chunk: Buffer) => this.#spread(chunk))
    serial.on('error', (error) => {
      this.#sources.log.debug({ vm: this.#vm.vmName, err: error }, 'the serial console broke')
    })
    // QEMU ends its side when it leaves; half a connection is of no use.
    serial.on('end', () => serial.destroy())
    serial.on('close', () => this.#onBroken(serial))
    return serial
  }

  #spread(chunk: Uint8Array): void {
    this.#recent.push(chunk)
    for (const seat of this.#seats) {
      if (!seat.viewer) {
        // Its WebSocket is being opened, in this very turn of the loop or the next.
        seat.early.push(chunk)
        continue
      }
      if (seat.viewer.unreadBytes() > consoleLimits.unreadBytes) {
        seat.viewer.end('too-slow', 'more was said than you read; open the console again')
        this.#leave(seat)
        continue
      }
      seat.viewer.output(chunk)
    }
  }

  #onBroken(serial: Duplex): void {
    if (this.#serial !== serial) return
    this.#serial = undefined
    if (this.#life.signal.aborted) return
    if (this.#seats.size === 0) {
      this.#lingerIfEmpty()
      return
    }
    this.#reconnect().catch((error: unknown) => {
      this.end(error instanceof KvasirError ? error.message.replace(/\.$/, '') : 'its connection broke')
    })
  }

  async #reconnect(): Promise<void> {
    const { clock } = this.#sources
    const until = clock.monotonicMs() + consoleLimits.reconnectMs
    for (;;) {
      await clock.sleep(reconnectPauseMs, this.#life.signal)
      try {
        await this.#connect()
        break
      } catch (error) {
        if (isOver(error) || clock.monotonicMs() >= until) throw error
      }
    }
    for (const seat of this.#seats)
      seat.viewer?.notice(
        'The console was connected again; what was said meanwhile is in the log.',
        seat.mode,
      )
  }
}

/**
 * Whether a console that cannot be opened is over. An emulator that is being ended closes its console before its VM is off; why that
 * is, `end` tells in a moment.
 */
function isOver(error: unknown): boolean {
  if (!(error instanceof KvasirError)) return false
  if (error.code === 'vm-not-found') return true
  const { state } = error.details
  return error.code === 'wrong-state' && !(typeof state === 'string' && mayHaveEmulator.has(state))
}

const mayHaveEmulator: ReadonlySet<string> = new Set(['starting', 'running', 'paused', 'stopping', 'unknown'])
