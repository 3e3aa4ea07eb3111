/** Several loads, each measured in turn with ours and with its peers: one row and one promise a peer for each. */
import { interleave } from './interleave.ts'
import type { Report, Target } from './report.ts'

export interface Loads<Peer, Load> {
  /** Whose promises they are, by its name among the peers. */
  readonly ours: string
  /** At most how many times as long as each of the others it is to take. One that is not there is left out. */
  readonly limits: readonly (readonly [peer: string, limit: number])[]
  readonly peers: ReadonlyMap<string, Peer>
  readonly loads: Readonly<Record<string, Load>>
  /** How long a load takes with a peer, in milliseconds. */
  readonly measure: (peer: Peer, load: Load) => Promise<number>
  readonly rounds: number
}

/** Measures all loads, one after the other. */
export async function compareLoads<Peer, Load>({
  ours,
  limits,
  peers,
  loads,
  measure,
  rounds,
}: Loads<Peer, Load>): Promise<Pick<Report, 'table' | 'targets' | 'details'>> {
  const rows: (string | number)[][] = []
  const targets: Target[] = []
  const details: Record<string, unknown> = {}
  const others = limits.filter(([peer]) => peers.has(peer))
  for (const [name, load] of Object.entries(loads)) {
    const measured = await interleave(
      Object.fromEntries([...peers].map(([who, peer]) => [who, () => measure(peer, load)])),
      { rounds },
    )
    const each = others.map(([peer, limit]) => ({ peer, limit, ratio: measured.ratio(ours, peer) }))
    rows.push([
      name,
      measured.of(ours).median,
      ...each.flatMap(({ peer, ratio }) => [measured.of(peer).median, ratio]),
    ])
    for (const { peer, limit, ratio } of each)
      targets.push({ what: `${name}, times ${peer}`, measured: ratio, limit, wanted: 'at most' })
    details[name] = measured
  }
  const head = ['ms, median', ours, ...others.flatMap(([peer]) => [peer, 'ratio'])]
  return { table: { head, rows }, targets, details }
}
