/** Whom the host knows on a link by ARP and neighbour discovery, as ip-neighbour(8) tells it. Form: iproute2's JSON, of 5.10 and later. */
import { z } from 'zod'
import type { Neighbour } from '../../ports/networks.ts'
import { askIp } from './network-commands.ts'

const shown = z.object({
  dst: z.string(),
  lladdr: z.string().optional(),
  state: z.array(z.string()).default([]),
})

/** Those that have answered; addresses of the link alone (fe80::/10) are left out. */
export async function readNeighbours(link: string): Promise<readonly Neighbour[]> {
  const known = z.array(shown).parse(await askIp(['neighbour', 'show', 'dev', link]))
  return known.flatMap(({ dst, lladdr, state }) =>
    lladdr === undefined || state.includes('FAILED') || /^fe[89ab]/i.test(dst)
      ? []
      : [{ mac: lladdr.toLowerCase(), address: dst }],
  )
}
