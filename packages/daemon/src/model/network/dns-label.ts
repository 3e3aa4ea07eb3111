/** Names of VMs and networks as DNS takes them. */

const longestLabel = 63

/** Names that programs look for and take whoever answers for (RFC 6761; proxies by WPAD, tunnels by ISATAP). No guest has them. */
export const wordsOfOthers = ['localhost', 'wpad', 'isatap'] as const

/** The word that stands for a name: a name may hold what DNS does not know. */
export function dnsLabel(name: string): string {
  const label = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, longestLabel)
    .replace(/-+$/, '')
  if (label === '') return 'x'
  return wordsOfOthers.some((word) => word === label) ? `vm-${label}` : label
}

/** The domain of a network that names none. */
export function defaultDomain(network: string): string {
  return `${dnsLabel(network)}.internal`
}
