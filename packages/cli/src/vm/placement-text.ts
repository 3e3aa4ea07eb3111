/** Where a VM lies, for people: its threads, and when asked for, why there and what else was looked at. */
import type { PlacementCandidate, PlacementPlan, VmPlacement } from '@kvasir/contract'
import { formatCpuList } from '@kvasir/contract/cpu-list'
import { formatBytes } from '@kvasir/contract/size'
import { formatTable } from '../output/table.ts'

type Bold = (text: string) => string

/** A placement as text. */
export function placementText(
  { name, state, reason, plan, rejected, moves = [] }: VmPlacement,
  { explain, bold }: { readonly explain: boolean; readonly bold: Bold },
): string {
  const title = {
    'in-force': () => `VM ${name}, ${plan?.summary}`,
    'next-start': () => `VM ${name}, ${plan?.summary}`,
    refused: () => `VM ${name} finds no place: ${reason}.`,
    none: () => `VM ${name} is not placed: ${reason}.`,
  }[state]()
  const sections = [
    `${bold(title)}\n${plan === undefined ? '' : `${stateWords(state, reason)}\n`}`,
    list('Moved first', moves.map(moveWords), bold),
    plan === undefined ? '' : threadTable(plan, bold),
    plan === undefined ? '' : guestLines(plan),
    ...(explain && plan !== undefined ? [list('Decided', plan.steps, bold)] : []),
    ...(explain ? [candidateLines(plan?.candidates ?? rejected, bold)] : []),
    plan === undefined ? '' : list('To know', plan.warnings, bold),
  ]
  return sections.filter((section) => section !== '').join('\n')
}

function moveWords({ vm, from, to }: NonNullable<VmPlacement['moves']>[number]): string {
  return `VM ${vm} goes from CPUs ${formatCpuList(from)} to ${formatCpuList(to)} while it runs; its memory stays, its caches start cold.`
}

function stateWords(state: VmPlacement['state'], reason: string): string {
  return state === 'in-force' ? `In force: ${reason}.` : `Not in force: ${reason}.`
}

function threadTable({ threads }: PlacementPlan, bold: Bold): string {
  const { vcpus, emulator, ioThreads, memoryNodes } = threads
  const rows = [
    ...groupVcpus(vcpus),
    ...(emulator === undefined ? [] : [{ thread: 'emulator', cpus: emulator }]),
    ...ioThreads.map(({ disk, cpus }) => ({ thread: `I/O of ${disk}`, cpus })),
  ]
  const table = formatTable(
    rows,
    [
      { title: 'THREAD', show: ({ thread }) => thread },
      { title: 'CPUS', show: ({ cpus }) => formatCpuList(cpus) },
    ],
    { bold },
  )
  const memory = memoryNodes === undefined ? 'anywhere' : `node ${memoryNodes.join(', ')}`
  return `${table}Memory from ${memory}\n`
}

/** vCPUs that may use the same CPUs share a line. */
function groupVcpus(vcpus: PlacementPlan['threads']['vcpus']) {
  const groups = Map.groupBy(vcpus, ({ cpus }) => cpus.join())
  return [...groups.values()].map((members) => ({
    thread: `vCPU ${formatCpuList(members.map(({ vcpu }) => vcpu))}`,
    cpus: members[0]?.cpus ?? [],
  }))
}

function guestLines({ guest }: PlacementPlan): string {
  if (guest === undefined) return ''
  const shape = `The guest sees ${guest.sockets} x ${guest.cores} x ${guest.threads} (sockets, cores, threads)`
  const nodes = guest.nodes.map(
    ({ node, hostNode, vcpus, memoryBytes }) =>
      `  node ${node}: vCPUs ${formatCpuList(vcpus)} and ${formatBytes(memoryBytes)}, on host node ${hostNode}\n`,
  )
  return `${shape}${nodes.length === 0 ? '' : ` and ${nodes.length} NUMA nodes:`}\n${nodes.join('')}`
}

function list(title: string, lines: readonly string[], bold: Bold): string {
  if (lines.length === 0) return ''
  return `${bold(title)}\n${lines.map((line) => `  - ${line}\n`).join('')}`
}

const verdicts = {
  chosen: 'chosen',
  costlier: 'rejected',
  'does-not-fit': 'does not fit',
} as const

/** The most places that are told of; the JSON has more. */
const mostShown = 6

function candidateLines(candidates: readonly PlacementCandidate[], bold: Bold): string {
  if (candidates.length === 0) return ''
  const shown = candidates.slice(0, mostShown)
  const rest = candidates.slice(mostShown)
  const more = rest.length === 0 ? '' : `  and ${rest.length} more, none of them better; see -o json\n`
  return `${bold('Considered')}\n${shown.map(candidateText).join('')}${more}`
}

function candidateText({ nodes, verdict, reason, cost, terms, l3 }: PlacementCandidate): string {
  const price = cost === undefined ? '' : `, cost ${cost}`
  const name = `node${nodes.length > 1 ? 's' : ''} ${formatCpuList(nodes)}`
  // Of a place that would do, what speaks against it is enough.
  const domains = verdict === 'costlier' ? [] : l3
  return [
    `  ${name}: ${verdicts[verdict]}${price}: ${reason}\n`,
    ...terms.map((term) => `    ${`+${term.cost}`.padStart(6)}  ${term.what}\n`),
    ...domains.map(
      (use) => `    ${domainName(use.l3)}: ${use.free} of ${use.total} threads free: ${use.why}\n`,
    ),
  ].join('')
}

function domainName(l3: string): string {
  return /^\d+$/.test(l3) ? `L3 ${l3}` : `no L3 shown${l3.replace(/^none/, '')}`
}
