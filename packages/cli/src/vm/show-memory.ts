/** The memory of a VM, as names and values: configured, as the guest has it, as the host holds it. */
import type { Vm, VmMemory } from '@kvasir/contract'
import { formatBytes } from '@kvasir/contract/size'
import type { Properties } from '../output/table.ts'
import { timeAndAge } from '../output/time.ts'

/** What `kvasir vm show` says of memory. */
export function describeVmMemory(vm: Vm, nowMs: number): Properties {
  const { memory } = vm.status
  return {
    Memory: sizes(vm),
    'Memory from': backingWords(memory?.backing),
    'Guest says': memory?.guest.map((report) => guestReport(report, nowMs)),
    'Host holds': hostHolds(vm),
    Limits: memory?.limits.map(({ limit, bytes, enforced, reason }) =>
      enforced
        ? `${limit} ${formatBytes(bytes)}`
        : `${limit} ${formatBytes(bytes)}, not enforced: ${reason ?? ''}`,
    ),
    'Memory notes': memory?.notes,
  }
}

/** The size that it runs with, where another one waits for the next boot. */
function sizes({ spec, status }: Vm): string[] {
  const { memory } = status
  const size = status.memoryBytes ?? spec.memory.size
  const limits = [
    ...(spec.memory.max === undefined ? [] : [`up to ${formatBytes(spec.memory.max)} can be plugged`]),
    ...(spec.memory.floor === undefined ? [] : [`never less than ${formatBytes(spec.memory.floor)}`]),
  ]
  const target = status.memory === undefined ? spec.memory.target : undefined
  const lines = [[formatBytes(size), ...limits].join(', ')]
  if (target !== undefined) lines.push(`balloon to leave ${formatBytes(target)}`)
  if (memory?.plugged !== undefined) {
    const { pluggedBytes, requestedBytes } = memory.plugged
    const asked =
      pluggedBytes === requestedBytes ? '' : ` of ${formatBytes(requestedBytes)} that were asked for`
    lines.push(`booted with ${formatBytes(memory.bootBytes)}, plugged ${formatBytes(pluggedBytes)}${asked}`)
  }
  return [...lines, ...balloonWords({ size, leaves: status.balloonBytes, balloon: memory?.balloon })]
}

/** How it is made, where that was asked for. */
function backingWords(backing: VmMemory['backing'] | undefined): string | undefined {
  if (backing === undefined) return undefined
  const { pageBytes, nodes, nodePolicy } = backing
  const words = [
    ...(pageBytes === undefined ? [] : [`reserved huge pages of ${formatBytes(pageBytes)}`]),
    ...(backing.sharing === 'shared' ? ['shared'] : []),
    ...(backing.thp === 'default' ? [] : [`transparent huge pages ${backing.thp}`]),
    ...(backing.ksm || backing.sharing === 'shared' || pageBytes !== undefined ? [] : ['without KSM']),
    ...(backing.preallocated && pageBytes === undefined ? ['preallocated'] : []),
    ...(backing.locked ? ['locked'] : []),
    ...(nodes.length > 0 ? [`${nodePolicy ?? 'bind'} node ${nodes.join(', ')}`] : []),
  ]
  return words.length === 0 ? undefined : words.join(', ')
}

/** What the balloon leaves, where that is not everything or is to change. */
function balloonWords({
  size,
  leaves,
  balloon,
}: {
  readonly size: number
  readonly leaves: number | undefined
  readonly balloon: VmMemory['balloon']
}): string[] {
  if (balloon !== undefined && balloon.actualBytes !== balloon.targetBytes)
    return [
      `balloon at ${formatBytes(balloon.actualBytes)}, on its way to ${formatBytes(balloon.targetBytes)}`,
    ]
  return leaves === undefined || leaves === size ? [] : [`balloon at ${formatBytes(leaves)}`]
}

function guestReport(report: VmMemory['guest'][number], nowMs: number): string {
  const part = (bytes: number | undefined, word: string) =>
    bytes === undefined ? [] : [`${formatBytes(bytes)} ${word}`]
  const words = [
    ...part(report.totalBytes, 'in all'),
    ...part(report.availableBytes, 'available'),
    ...part(report.freeBytes, 'free'),
    ...part(report.cachesBytes, 'of caches'),
    ...part(report.swappedOutBytes === 0 ? undefined : report.swappedOutBytes, 'swapped out'),
  ].join(', ')
  const at = report.at === undefined ? '' : `, ${timeAndAge(report.at, nowMs)}`
  return `${report.source}: ${words}${at}`
}

function hostHolds({ status }: Vm): string[] | undefined {
  const host = status.memory?.host
  if (host === undefined)
    return status.residentBytes === undefined ? undefined : [`${formatBytes(status.residentBytes)} resident`]
  const zswapped = host.zswappedBytes ? ` (${formatBytes(host.zswappedBytes)} of it compressed in zswap)` : ''
  const swapped = host.swappedBytes === 0 ? [] : [`${formatBytes(host.swappedBytes)} swapped${zswapped}`]
  const merged = host.ksmBytes ? [`${formatBytes(host.ksmBytes)} shared by KSM`] : []
  const huge = host.huge.map(
    ({ kind, pageBytes, bytes }) =>
      `${formatBytes(bytes)} in ${kind} huge pages of ${formatBytes(pageBytes)}`,
  )
  const nodes = (host.nodes ?? []).map(({ node, bytes }) => `node ${node}: ${formatBytes(bytes)}`)
  return [
    [`${formatBytes(host.residentBytes)} resident`, ...swapped, ...merged].join(', '),
    ...huge,
    ...(nodes.length > 1 ? [nodes.join(', ')] : []),
  ]
}
