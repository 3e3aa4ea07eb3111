/**
 * What is known of the networks, and who makes them: each started one is looked at every second, and what is missing of it on the host
 * is made again.
 *
 *     inactive ──start──▶ active ◀──made again──┐
 *         ▲                 │ └──cannot be──▶ failed
 *         └──────stop───────┴───────stop─────────┘
 *
 * A network's row says whether it is started; how it does is only ever in memory. Whatever changes a network or its row has the turn
 * (`inTurn`), so nobody makes what another one takes away, and two networks never choose one subnet.
 */
import { type NetworkFinding, type NetworkRepair, type NetworkState, networkLimits } from '@kvasir/contract'
import type { Wire } from '../../model/network/wires.ts'
import type { Emit } from '../../ports/events.ts'
import type { NetworkSight } from '../../ports/networks.ts'
import type { Ports } from '../../ports/ports.ts'
import type { NetworkRecord } from '../../ports/store.ts'
import { type LastSight, LastSights } from './last-sights.ts'
import { NetworkNews, type NewsSources } from './network-news.ts'
import { pointAfter } from './raise-points.ts'
import { requireFree } from './require-free.ts'

const watchMs = 1_000
/** Rules and addresses, which take processes to read, are looked at with every so many looks. */
const deepEvery = 4
/** How long a network that could not be made again waits for the next attempt, at first and at most. */
const firstRetryMs = 1_000
const lastRetryMs = 60_000

/** What was last seen of a network. */
export interface SeenNetwork {
  readonly state: NetworkState
  readonly reason: string
  readonly since: string
  readonly findings: readonly NetworkFinding[]
  /** What was amiss and was put right, the last ones last. */
  readonly repairs: readonly NetworkRepair[]
  readonly dnsmasqPid: number | undefined
  /** The links by which its packets leave the host. */
  readonly uplinks: readonly string[]
}

type Seen = Omit<SeenNetwork, 'repairs' | 'uplinks'>

interface Retry {
  readonly atMs: number
  readonly pauseMs: number
}

export interface NetworkDeskParts extends NewsSources {
  readonly ports: Ports
  readonly emit: Emit
}

export class NetworkDesk {
  readonly #parts: NetworkDeskParts
  readonly #seen = new Map<string, Seen>()
  readonly #retries = new Map<string, Retry>()
  readonly #news: NetworkNews
  readonly #repairs = new Map<string, readonly NetworkRepair[]>()
  readonly #sights = new LastSights()
  /** Networks of which something that is to go may be on the host. */
  readonly #unfinished = new Set<string>()
  #last: Promise<unknown> = Promise.resolve()
  #begun: Promise<void> = Promise.resolve()
  #looking: Promise<void> | undefined
  #looks = 0
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(parts: NetworkDeskParts) {
    this.#parts = parts
    this.#news = new NetworkNews(parts)
  }

  /** Settles when what a former daemon left has been brought in order. */
  get begun(): Promise<void> {
    return this.#begun
  }

  /** What is known of a network now. */
  seen(network: NetworkRecord): SeenNetwork {
    const known = this.#seen.get(network.id)
    const repairs = this.#repairs.get(network.id) ?? []
    const uplinks = network.started ? this.#sights.of(network.id).uplinks : []
    const nothing = { since: known?.since ?? network.createdAt, findings: [], dnsmasqPid: undefined }
    if (!network.started)
      return known?.state === 'inactive'
        ? { ...known, repairs, uplinks }
        : { ...nothing, repairs, uplinks, state: 'inactive', reason: 'it is not started' }
    const reason = 'it has not been looked at yet'
    const seen = { ...nothing, state: 'failed' as const, reason, ...known, repairs, uplinks }
    return { ...seen, findings: [...seen.findings, ...this.#sights.of(network.id).lasting] }
  }

  /** What was last seen of a network besides, a moment ago. */
  sight({ id }: NetworkRecord): LastSight {
    return this.#sights.of(id)
  }

  /** The NICs with which VMs run on a network. */
  wires({ name }: NetworkRecord): readonly Wire[] {
    return this.#parts.wiresOn(name)
  }

  /** Does work while nobody else changes a network. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#last.then(work)
    this.#last = next.catch(() => {})
    return next
  }

  /** Makes what is missing of a network on the host. Only for who has the turn. */
  async raise(network: NetworkRecord): Promise<void> {
    const { ports } = this.#parts
    await requireFree(network, ports)
    const news = this.#news.now(network)
    this.#news.note(network, news)
    await ports.networks.raise(network, {
      ...news,
      onPart: (part) => ports.failpoint(pointAfter[part]),
    })
    await this.#look(network, { deep: false })
  }

  /** Puts rules in place for the NICs of now. Only for who has the turn. Of a network that lacks more than that, all is made. */
  async rewire(network: NetworkRecord): Promise<void> {
    const { ports } = this.#parts
    const news = this.#news.now(network)
    const { state, findings = [] } = this.#seen.get(network.id) ?? {}
    const isWhole = state === 'active' && findings.length === 0 && this.#news.knowsGuests(network, news)
    if (!isWhole) return await this.raise(network)
    await ports.networks.rewire(network, news.wires)
    this.#news.note(network, news)
    await ports.failpoint(pointAfter.rules)
  }

  /** Takes all of a stopped network away from the host. What cannot be is tried again. Only for who has the turn. */
  async lower(network: NetworkRecord): Promise<void> {
    this.#unfinished.add(network.id)
    const { networks, failpoint } = this.#parts.ports
    await networks.lower(network, { onUplinkBack: () => failpoint('network.lower.after-uplink') })
    this.#unfinished.delete(network.id)
    this.#retries.delete(network.id)
    this.#sights.forget(network.id)
    this.#write(network, { state: 'inactive', reason: 'it was stopped', findings: [], dnsmasqPid: undefined })
  }

  forget(network: NetworkRecord): void {
    this.#unfinished.delete(network.id)
    this.#news.forget(network)
    this.#sights.forget(network.id)
    this.#repairs.delete(network.id)
    this.#seen.delete(network.id)
    this.#retries.delete(network.id)
  }

  /** Brings in order what was left, then looks after the networks from now on. */
  begin(settle: () => Promise<void>): void {
    this.#begun = this.inTurn(settle).catch((error: unknown) =>
      this.#parts.ports.log.error({ err: error }, 'the networks could not be brought in order'),
    )
    this.#timer = setInterval(() => this.#lookAtAll(), watchMs).unref()
  }

  /** Looks no more; the networks stay. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#timer)
    await this.#last
    await this.#looking
  }

  /** A network could not be made: it is tried again, later each time. */
  noteFailure(
    network: NetworkRecord,
    error: unknown,
    sight: Partial<NetworkSight> = this.#seen.get(network.id) ?? {},
  ): void {
    this.#noteRetry(network, error)
    const reason = error instanceof Error ? error.message : String(error)
    const { findings = [], dnsmasqPid } = sight
    this.#write(network, { state: 'failed', reason, findings, dnsmasqPid })
  }

  #lookAtAll(): void {
    if (this.#looking || this.#isClosed) return
    const isDeep = this.#looks++ % deepEvery === 0
    this.#looking = this.#lookAtEach(isDeep)
      .catch((error: unknown) =>
        this.#parts.ports.log.error({ err: error }, 'the networks were not looked at'),
      )
      .finally(() => {
        this.#looking = undefined
      })
  }

  async #lookAtEach(isDeep: boolean): Promise<void> {
    const { store } = this.#parts.ports
    for (const { id } of store.networks.list())
      await this.inTurn(async () => {
        const network = store.networks.get(id)
        if (!network || this.#isClosed) return
        if (!this.#isDue(network)) await this.#glance(network)
        else if (isKept(network)) await this.#keep(network, isDeep)
        else if (this.#unfinished.has(id)) await this.#finish(network)
      })
  }

  #isDue({ id }: NetworkRecord): boolean {
    return (this.#retries.get(id)?.atMs ?? 0) <= this.#parts.ports.clock.monotonicMs()
  }

  /** Until the next attempt at a network, its dnsmasq may end. */
  async #glance(network: NetworkRecord): Promise<void> {
    const known = this.#seen.get(network.id)
    if (known?.dnsmasqPid === undefined) return
    const { networks } = this.#parts.ports
    const sight = await networks.inspect(network, { deep: false, wires: [] }).catch(() => known)
    this.#seen.set(network.id, { ...known, dnsmasqPid: sight.dnsmasqPid })
  }

  async #finish(network: NetworkRecord): Promise<void> {
    try {
      await this.lower(network)
    } catch (error) {
      this.#noteRetry(network, error)
    }
  }

  /** Looks at a network, and makes again what it lacks. */
  async #keep(network: NetworkRecord, isDeep: boolean): Promise<void> {
    const { networks } = this.#parts.ports
    const isFailed = this.seen(network).state === 'failed'
    let sight: NetworkSight | undefined
    try {
      const news = this.#news.now(network)
      const isNews = !this.#news.isTold(network, news)
      const deep = isDeep || isFailed
      sight = await networks.inspect(network, { deep, wires: news.wires })
      const { findings } = sight
      this.#sights.note(network.id, sight, await networks.leases(network))
      if (findings.length === 0 && !isFailed && !isNews) return
      await this.raise(network)
      this.#retries.delete(network.id)
      this.#noteRepairs(network, findings)
    } catch (error) {
      this.noteFailure(network, error, sight)
    }
  }

  #noteRepairs({ id, name }: NetworkRecord, findings: readonly NetworkFinding[]): void {
    const { clock, log } = this.#parts.ports
    if (findings.length === 0) return
    for (const { detail } of findings) log.warn({ network: name, detail }, 'a network was made again')
    const repairs = findings.map(({ detail }) => ({ at: clock.now(), detail }))
    this.#repairs.set(id, [...(this.#repairs.get(id) ?? []), ...repairs].slice(-networkLimits.repairs))
  }

  #noteRetry(network: NetworkRecord, error: unknown): void {
    const { clock, log } = this.#parts.ports
    const pauseMs = Math.min((this.#retries.get(network.id)?.pauseMs ?? firstRetryMs / 2) * 2, lastRetryMs)
    this.#retries.set(network.id, { pauseMs, atMs: clock.monotonicMs() + pauseMs })
    log.warn({ network: network.name, err: error }, 'a network could not be made, or taken away')
  }

  async #look(network: NetworkRecord, options: { readonly deep: boolean }): Promise<void> {
    const { networks } = this.#parts.ports
    const { wires } = this.#news.now(network)
    const sight = await networks.inspect(network, { ...options, wires })
    this.#sights.note(network.id, sight)
    const { findings, dnsmasqPid } = sight
    this.#write(network, { state: 'active', reason: 'it is there', findings, dnsmasqPid })
  }

  #write(network: NetworkRecord, next: Omit<Seen, 'since'>): void {
    const { clock } = this.#parts.ports
    const before = this.#seen.get(network.id)
    const isNews = before?.state !== next.state
    this.#seen.set(network.id, { ...next, since: isNews || !before ? clock.now() : before.since })
    if (isNews && !(before === undefined && next.state === 'active')) this.#tell(network, before?.state, next)
  }

  #tell(network: NetworkRecord, from: NetworkState | undefined, next: Omit<Seen, 'since'>): void {
    const { emit, ports } = this.#parts
    const { state, reason } = next
    try {
      emit('network.state', network.name, { state, reason, ...(from === undefined ? {} : { from }) })
    } catch (error) {
      ports.log.error({ network: network.name, err: error }, 'the state of a network could not be told')
    }
  }
}

function isKept({ started, phase }: NetworkRecord): boolean {
  return started && phase === 'ready'
}
