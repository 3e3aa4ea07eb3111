/** Reads the rules of all firewalls of the host: those that nft(8) knows, which are those of iptables-nft too, and those of iptables-legacy. */
import { readFile } from 'node:fs/promises'
import { CommandError, runCommand } from '@kvasir/linux'
import { z } from 'zod'
import type { HostFilters } from '../../model/network/host-filters.ts'
import { askIp, runNetworkCommand } from './network-commands.ts'

/** Hosts of many containers have thousands of rules; whoever asks for a network waits for them. */
const limits = { timeoutMs: 3_000, maxOutputBytes: 4 * 1024 * 1024 } as const
const purpose = 'the rules of others cannot be looked at'

const route = z.object({
  dev: z.string().optional(),
  nexthops: z.array(z.object({ dev: z.string().optional() })).default([]),
})

/** The rules as they are now. */
export async function readFilters(): Promise<HostFilters> {
  const [json, text, legacy4, legacy6, uplinks4, uplinks6, bridged4, bridged6] = await Promise.all([
    runNetworkCommand(['nft', '--json', '--stateless', 'list', 'ruleset'], { ...limits, purpose }),
    runNetworkCommand(['nft', '--handle', '--stateless', 'list', 'ruleset'], { ...limits, purpose }),
    legacyOf(4),
    legacyOf(6),
    uplinksOf('-4'),
    uplinksOf('-6'),
    isOn('bridge-nf-call-iptables'),
    isOn('bridge-nf-call-ip6tables'),
  ])
  const ruleset: unknown = JSON.parse(json)
  return {
    ruleset,
    text,
    legacy: [...legacy4, ...legacy6],
    uplinks: { 4: uplinks4, 6: uplinks6 },
    seesBridged: { 4: bridged4, 6: bridged6 },
  }
}

/**
 * The kernel names the tables that iptables-legacy has (net/ipv4/netfilter/ip_tables.c), and has no such file where it knows none of it.
 * iptables-legacy-save without a table's name reads those alone, so that asking makes no table.
 */
async function legacyOf(family: 4 | 6): Promise<HostFilters['legacy']> {
  const tables = await readFile(`/proc/net/${family === 4 ? 'ip' : 'ip6'}_tables_names`, 'utf8').catch(
    () => '',
  )
  if (tables.trim() === '') return []
  try {
    const { stdout } = await runCommand([`${family === 4 ? 'ip' : 'ip6'}tables-legacy-save`], limits)
    return [{ family, saved: stdout }]
  } catch (error) {
    if (error instanceof CommandError) return [{ family, saved: undefined }]
    throw error
  }
}

async function uplinksOf(family: '-4' | '-6'): Promise<readonly string[]> {
  const routes = z.array(route).parse(await askIp([family, 'route', 'show', 'default']))
  return [
    ...new Set(routes.flatMap(({ dev, nexthops }) => [dev, ...nexthops.map((hop) => hop.dev)])),
  ].flatMap((link) => link ?? [])
}

/** Kernels without br_netfilter have no such file. */
async function isOn(setting: string): Promise<boolean> {
  return (await readFile(`/proc/sys/net/bridge/${setting}`, 'utf8').catch(() => '0')).trim() === '1'
}
