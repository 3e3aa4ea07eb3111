/** Names of VMs and networks as DNS takes them. */

const longestLabel = 63

/** The word that stands for a name: a name may hold what DNS does not know. */
export function dnsLabel(name: string): string {
  const label = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
  return label === '' ? 'x' : label.slice(0, longestLabel)
}
