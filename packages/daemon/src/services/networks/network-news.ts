/** What VMs are to networks, and what of it each network was last told. */
import type { GuestNic } from '../../model/network/dnsmasq-conf.ts'
import type { Wire } from '../../model/network/wires.ts'
import type { NetworkRecord } from '../../ports/store.ts'

export interface NewsSources {
  /** The NICs of VMs on a network, as DNS is to know them. */
  readonly guestsOf: (network: string) => readonly GuestNic[]
  /** The NICs with which VMs run on a network. */
  readonly wiresOn: (network: string) => readonly Wire[]
}

export interface News {
  readonly guests: readonly GuestNic[]
  readonly wires: readonly Wire[]
}

/** News of VMs for networks. */
export class NetworkNews {
  readonly #sources: NewsSources
  readonly #told = new Map<string, { readonly guests: string; readonly wires: string }>()

  constructor(sources: NewsSources) {
    this.#sources = sources
  }

  /** What VMs are to a network now. */
  now({ name }: NetworkRecord): News {
    return { guests: this.#sources.guestsOf(name), wires: this.#sources.wiresOn(name) }
  }

  /** The network is told of these. */
  note({ id }: NetworkRecord, { guests, wires }: News): void {
    this.#told.set(id, { guests: JSON.stringify(guests), wires: textOf(wires) })
  }

  /** Whether it knows all of them. */
  isTold(network: NetworkRecord, news: News): boolean {
    return this.#told.get(network.id)?.wires === textOf(news.wires) && this.knowsGuests(network, news)
  }

  /** Whether its DHCP and DNS know them. */
  knowsGuests({ id }: NetworkRecord, { guests }: News): boolean {
    return this.#told.get(id)?.guests === JSON.stringify(guests)
  }

  forget({ id }: NetworkRecord): void {
    this.#told.delete(id)
  }
}

/** Wires, to be compared: that a NIC has come meanwhile is no news. */
function textOf(wires: readonly Wire[]): string {
  return JSON.stringify(wires.map(({ comes: _comes, ...wire }) => wire))
}
