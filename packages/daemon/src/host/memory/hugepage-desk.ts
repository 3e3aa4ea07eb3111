/**
 * Hands reserved huge pages to VMs that start, one VM at a time: looks whether there are enough, reserves what is missing where the
 * configuration allows it, and gives back what it reserved when the VM ends.
 *
 * What was reserved for a VM is written into its runtime directory before the kernel is asked, and taken out after the kernel was told
 * to have it back. So whoever cleans up after a VM, however it and its daemon ended, gives back what was reserved for it. A boot of
 * the host forgets all reservations, and a note of an earlier boot says nothing.
 */
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { KvasirError } from '@kvasir/contract'
import { z } from 'zod'
import {
  type HugepageReading,
  missingPages,
  type PagesOfNode,
  type PageWant,
  requirePageSize,
  reservationFailed,
  tooFewPages,
} from '../../model/memory/hugepages.ts'
import {
  availableBytesOf,
  compact,
  type Pool,
  persistentPages,
  readPools,
  setPersistentPages,
} from './pool-files.ts'

const note = z.object({
  bootId: z.string(),
  pageBytes: z.int().positive(),
  parts: z.array(
    z.object({
      node: z.int().nonnegative(),
      /** What the kernel had before it was asked. */
      before: z.int().nonnegative(),
      pages: z.int().nonnegative(),
      /** What is under way: `asking` may or may not have been carried out. */
      step: z.enum(['asking', 'had', 'returning']),
    }),
  ),
})

type Note = z.output<typeof note>
type Part = Note['parts'][number]

/** Pages that are reserved for a VM. */
export interface Reservation extends PagesOfNode {
  readonly pageBytes: number
}

export interface HugepageDeskOptions {
  readonly bootId: string
  readonly mayReserve: boolean
}

/** How long a start waits for others to have taken their pages, each of which the kernel clears first. */
const longestWaitMs = 60_000
const pauseMs = 20
/** How long the kernel may look for pages of one node, and how long it may take to have them back. */
const askingMs = 90_000
const returningMs = 60_000

export class HugepageDesk {
  readonly #options: HugepageDeskOptions
  /** Handed out and not taken yet, by the path of the VM's note: QEMU takes its pages a moment later. */
  readonly #handedOut = new Map<string, PageWant>()
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: HugepageDeskOptions) {
    this.#options = options
  }

  /** What the host has of pages of a size, less what VMs that start will take. Too little while these are taking it. */
  read(pageBytes: number): HugepageReading {
    const reading = readPools(pageBytes, this.#options.mayReserve)
    const promised = [...this.#handedOut.values()].filter((want) => want.pageBytes === pageBytes)
    return {
      ...reading,
      nodes: promised.reduce(less, reading.nodes),
      isUnsettled: promised.length > 0,
      promisedTo: promised.map(({ vm }) => vm),
    }
  }

  /**
   * Makes sure of a VM's pages until `taken` or `giveBack`. Throws `unsupported`, or `not-enough-memory` when they are missing and cannot
   * be reserved. Whether they are is known once others that start have theirs, so these are waited for.
   */
  async handOut(
    want: PageWant,
    notePath: string,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    const deadline = performance.now() + longestWaitMs
    let isDone = false
    const attempt = async () => {
      signal?.throwIfAborted()
      const mayWait = performance.now() < deadline
      isDone = await this.#handOutOrWait(want, notePath, { mayWait, signal })
    }
    for (;;) {
      await this.#inTurn(attempt)
      if (isDone) return
      await sleep(pauseMs, undefined, { signal }).catch(() => signal?.throwIfAborted())
    }
  }

  /** Whether the pages are the VM's now. */
  async #handOutOrWait(
    want: PageWant,
    notePath: string,
    { mayWait, signal }: { readonly mayWait: boolean; readonly signal: AbortSignal | undefined },
  ): Promise<boolean> {
    const reading = this.read(want.pageBytes)
    requirePageSize(want, reading)
    const missing = missingPages(want, reading.nodes)
    if (missing.length > 0) {
      if (reading.isUnsettled && mayWait) return false
      if (!reading.mayReserve) throw tooFewPages(want, reading, [])
      await this.#reserve(want, { missing, notePath, signal })
    }
    this.#handedOut.set(notePath, want)
    return true
  }

  /** The emulator has its pages: the kernel counts them from here on. */
  taken(notePath: string): void {
    this.#handedOut.delete(notePath)
  }

  /** Gives back what was reserved for a VM that no longer runs. Safe to repeat. Throws `host-failed`. */
  async giveBack(notePath: string): Promise<void> {
    const reserved = await readNote(notePath)
    if (reserved === undefined) return this.taken(notePath)
    await this.#inTurn(async () => {
      try {
        if (reserved.bootId === this.#options.bootId) await returnAll(reserved, notePath)
        await rm(notePath, { force: true })
      } finally {
        this.taken(notePath) // Not before: who waits for pages would be given these, which go back to the kernel.
      }
    })
  }

  /** What is reserved for a VM; empty when nothing is. */
  async reservations(notePath: string): Promise<readonly Reservation[]> {
    const reserved = await readNote(notePath)
    if (reserved === undefined || reserved.bootId !== this.#options.bootId) return []
    return reserved.parts.map(({ node, pages }) => ({ node, pages, pageBytes: reserved.pageBytes }))
  }

  async #reserve(
    want: PageWant,
    work: {
      readonly missing: readonly PagesOfNode[]
      readonly notePath: string
      readonly signal: AbortSignal | undefined
    },
  ): Promise<void> {
    const { pageBytes } = want
    for (const { node, pages } of work.missing) requireRoom(want, { node, pages })
    const parts: Part[] = []
    const write = () => writeNote(work.notePath, { bootId: this.#options.bootId, pageBytes, parts })
    for (const { node, pages } of work.missing) {
      const before = persistentPages(node, pageBytes)
      parts.push({ node, before, pages, step: 'asking' })
      await write()
      const isInTime = await ask({ node, pageBytes }, before + pages, work.signal)
      const got = Math.max(0, persistentPages(node, pageBytes) - before)
      parts[parts.length - 1] = { node, before, pages: got, step: 'had' }
      await write()
      work.signal?.throwIfAborted()
      if (got >= pages) continue
      const longestMs = isInTime ? undefined : askingMs
      const availableBytes = availableBytesOf(node)
      throw reservationFailed(want, { node, wanted: pages, got, availableBytes, longestMs })
    }
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    const mine = this.#turn.then(work)
    this.#turn = mine.catch(() => {})
    await mine
  }
}

/** A return that was under way is known by how many pages the node still has. */
async function returnAll(reserved: Note, notePath: string): Promise<void> {
  const { pageBytes } = reserved
  const parts = [...reserved.parts]
  for (const [index, { node, before, pages: had, step }] of reserved.parts.entries()) {
    const now = persistentPages(node, pageBytes)
    if (step === 'returning' && now <= before - had) continue
    const pages = step === 'asking' ? Math.min(had, Math.max(0, now - before)) : had
    if (pages === 0) continue
    parts[index] = { node, before: now, pages, step: 'returning' }
    await writeNote(notePath, { ...reserved, parts })
    const did = await setPersistentPages({ node, pageBytes }, now - pages, { timeoutMs: returningMs })
    if (did !== 'taken')
      throw new KvasirError(
        'host-failed',
        `The kernel ${did === 'refused' ? 'does not take' : `has not taken in ${returningMs / 1000} s`} back ${pages} huge pages of node ${node}, so they stay reserved.`,
      )
  }
}

/** The kernel is not asked for memory that is not there: on the way to refusing it, it would take all that there is. */
function requireRoom(want: PageWant, { node, pages }: PagesOfNode): void {
  const availableBytes = availableBytesOf(node)
  if (availableBytes === undefined || availableBytes >= pages * want.pageBytes) return
  throw reservationFailed(want, { node, wanted: pages, got: 0, availableBytes })
}

/** Memory is moved together only when the kernel did not find enough by itself. Answers whether it came to an end; a caller's end is one. */
async function ask(pool: Pool, pages: number, signal: AbortSignal | undefined): Promise<boolean> {
  const { node, pageBytes } = pool
  const deadline = performance.now() + askingMs
  const options = () => ({ timeoutMs: Math.max(1, deadline - performance.now()), signal })
  try {
    for (const isLast of [false, true]) {
      const did = await setPersistentPages(pool, pages, options())
      if (did === 'out-of-time') return false
      if (isLast || did === 'refused' || persistentPages(node, pageBytes) >= pages) return true
      if ((await compact(node, options())) === 'out-of-time') return false
    }
  } catch (error) {
    if (!signal?.aborted) throw error
  }
  return true
}

/** What is left of nodes when a VM has had its pages: from its own nodes, those with the most first. */
function less(nodes: HugepageReading['nodes'], want: PageWant): HugepageReading['nodes'] {
  const left = new Map(nodes.map(({ node, free }) => [node, free]))
  for (const { node, pages } of want.shares ?? []) left.set(node, Math.max(0, (left.get(node) ?? 0) - pages))
  if (want.shares) return nodes.map((pool) => ({ ...pool, free: left.get(pool.node) ?? pool.free }))
  const own = nodes.filter(({ node }) => want.nodes.length === 0 || want.nodes.includes(node))
  let rest = want.pages
  for (const { node, free } of [...own].sort((a, b) => b.free - a.free)) {
    const part = Math.min(rest, free)
    left.set(node, free - part)
    rest -= part
  }
  return nodes.map((pool) => ({ ...pool, free: left.get(pool.node) ?? pool.free }))
}

async function writeNote(path: string, value: Note): Promise<void> {
  await writeFile(`${path}.new`, JSON.stringify(value), { mode: 0o600 })
  await rename(`${path}.new`, path)
}

async function readNote(path: string): Promise<Note | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  try {
    return note.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}
