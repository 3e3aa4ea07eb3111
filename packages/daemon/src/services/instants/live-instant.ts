/** An instant that is kept: who reads of it, and when it is to end. In memory alone; what it made is in the rows of its scratch volumes. */
import type { Duplex } from 'node:stream'
import { type Instant, KvasirError } from '@kvasir/contract'
import type { Clock } from '../../ports/clock.ts'
import type { VolumeServer } from '../../ports/volume-access.ts'
import type { CopyRecord } from '../moves/move-rows.ts'

/** One disk that is kept. */
export interface KeptRow {
  readonly disk: string
  readonly scratch: CopyRecord
  readonly kind: 'full' | 'increment'
  readonly reason: string | undefined
}

export class LiveInstant {
  readonly about: Omit<Instant, 'disks' | 'copied'>
  readonly vmId: string
  readonly disks: readonly KeptRow[]
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #ending = new AbortController()
  readonly #reading = new Set<string>()
  #readUntilMs: number
  #server: Promise<VolumeServer> | undefined
  #connections = 0
  #copied = 0

  constructor(parts: {
    readonly about: Omit<Instant, 'disks' | 'copied'>
    readonly vmId: string
    readonly disks: readonly KeptRow[]
    readonly clock: Pick<Clock, 'monotonicMs'>
  }) {
    this.about = parts.about
    this.vmId = parts.vmId
    this.disks = parts.disks
    this.#clock = parts.clock
    this.#readUntilMs = parts.clock.monotonicMs()
  }

  /** Whether all disks can be read. */
  get isCopied(): boolean {
    return this.#copied === 1
  }

  /** How far the disk that is furthest behind is copied, from 0 to 1. */
  get copied(): number {
    return this.#copied
  }

  /** Notes how far the copying is. */
  noteCopied(share: number): void {
    this.#copied = share
    this.#readUntilMs = this.#clock.monotonicMs()
  }

  /** Aborted when it is to end, with why. */
  get ending(): AbortSignal {
    return this.#ending.signal
  }

  /** Has it end; what is being read of it breaks off. */
  end(reason: KvasirError): void {
    this.#ending.abort(reason)
  }

  /** How long nobody has read of it. */
  idleMs(): number {
    return this.#reading.size + this.#connections > 0 ? 0 : this.#clock.monotonicMs() - this.#readUntilMs
  }

  /** Begins to read a disk, which one at a time may; what is answered ends it. `volume-not-found`, `busy`. */
  beginReading(disk: string): { readonly row: KeptRow; readonly end: () => void } {
    this.#ending.signal.throwIfAborted()
    if (!this.isCopied)
      throw new KvasirError('busy', `The disks of instant ${this.about.id} are still being copied.`)
    const row = this.disks.find((one) => one.disk === disk)
    if (!row)
      throw new KvasirError('volume-not-found', `Instant ${this.about.id} does not have disk ${disk}.`)
    if (this.#server)
      throw new KvasirError(
        'busy',
        `The disks of instant ${this.about.id} are served by NBD, and read by that alone.`,
      )
    if (this.#reading.has(disk))
      throw new KvasirError('busy', `Disk ${disk} of instant ${this.about.id} is being read by someone else.`)
    this.#reading.add(disk)
    const end = () => {
      if (this.#reading.delete(disk)) this.#readUntilMs = this.#clock.monotonicMs()
    }
    return { row, end }
  }

  /** Has its disks served by NBD from now on, and again when who served them has ended. `busy`. */
  async serve(start: () => Promise<VolumeServer>): Promise<void> {
    this.#ending.signal.throwIfAborted()
    const { id } = this.about
    if (!this.isCopied) throw new KvasirError('busy', `The disks of instant ${id} are still being copied.`)
    if (this.#reading.size > 0)
      throw new KvasirError('busy', `Instant ${id} is being read, so it is not served by NBD.`)
    this.#readUntilMs = this.#clock.monotonicMs()
    this.#server ??= this.#started(start)
    await this.#server
  }

  /** A connection to who serves its disks; who has one reads. */
  async connect(): Promise<Duplex> {
    const server = await this.#server
    this.#ending.signal.throwIfAborted()
    if (!server) throw new KvasirError('instant-not-found', `Instant ${this.about.id} is not served.`)
    const stream = await server.connect()
    this.#connections++
    stream.once('close', () => {
      this.#connections--
      this.#readUntilMs = this.#clock.monotonicMs()
    })
    return stream
  }

  /** Has its disks served no more. Never throws. */
  async stopServing(): Promise<void> {
    const server = await this.#server?.catch(() => undefined)
    await server?.close().catch(() => undefined)
  }

  async #started(start: () => Promise<VolumeServer>): Promise<VolumeServer> {
    const forget = () => {
      this.#server = undefined
    }
    try {
      const server = await start()
      void server.ended.then(forget)
      return server
    } catch (error) {
      forget()
      throw error
    }
  }
}
