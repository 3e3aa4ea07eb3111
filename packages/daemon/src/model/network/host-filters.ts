/** The firewalls of a host, as far as they may be in the way of a network. */
export interface HostFilters {
  /** What `nft --json list ruleset` told. */
  readonly ruleset: unknown
  /** The same in the words of `nft --handle list ruleset`. */
  readonly text: string
  /** The families of iptables-legacy that have tables, with what their iptables-legacy-save told; undefined where there is none to ask. */
  readonly legacy: readonly { readonly family: 4 | 6; readonly saved: string | undefined }[]
  /** The links of the host's default routes. */
  readonly uplinks: Readonly<Record<4 | 6, readonly string[]>>
  /** Whether frames between ports of a bridge come to the rules for packets too (`bridge-nf-call-iptables` of the kernel). */
  readonly seesBridged: Readonly<Record<4 | 6, boolean>>
}
