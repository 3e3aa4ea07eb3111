/** The memory of a host, and what its kernel does with it, as names and values. */
import type { Host } from '@kvasir/contract'
import { formatBytes } from '@kvasir/contract/size'
import type { Properties } from '../output/table.ts'

/** What `kvasir host show` says of memory. */
export function describeMemory({ totalBytes, availableBytes, nodes, features }: Host['memory']): Properties {
  return {
    Memory: [
      totalBytes === 0 ? 'unknown' : `${formatBytes(totalBytes)}, ${formatBytes(availableBytes)} available`,
      ...(nodes.length > 1 ? nodes : []).flatMap((node) =>
        node.totalBytes === undefined
          ? []
          : [`node ${node.node}: ${formatBytes(node.totalBytes)}, ${formatBytes(node.freeBytes ?? 0)} free`],
      ),
    ],
    Hugepages: features.hugepages.length === 0 ? 'absent' : features.hugepages.map(describePool),
    THP: describeThp(features.thp),
    KSM: describeKsm(features.ksm),
    zswap: describeZswap(features.zswap),
    Swap:
      features.swap.totalBytes === 0
        ? 'none'
        : `${formatBytes(features.swap.totalBytes)}, ${formatBytes(features.swap.freeBytes)} free`,
    Pressure: describePressure(features.psi),
    MGLRU: features.mglru.state,
  }
}

type Features = Host['memory']['features']

function describePool({ sizeBytes, total, free, reserved, nodes }: Features['hugepages'][number]): string {
  const size = formatBytes(sizeBytes)
  if (total === 0) return `${size}: none`
  const perNode =
    nodes.length < 2
      ? ''
      : ` (${nodes.map((node) => `node ${node.node}: ${node.free} of ${node.total}`).join(', ')})`
  return `${size}: ${free} of ${total} free, ${reserved} reserved${perNode}`
}

function describeThp({ mode, defrag, shmem, inUseBytes }: Features['thp']): string {
  if (mode === 'absent') return mode
  return [
    mode,
    ...(defrag === undefined ? [] : [`defrag ${defrag}`]),
    ...(shmem === undefined ? [] : [`shmem ${shmem}`]),
    ...(inUseBytes === undefined ? [] : [`${formatBytes(inUseBytes)} in use`]),
  ].join(', ')
}

function describeKsm({ state, savedBytes, mergeAcrossNodes }: Features['ksm']): string {
  return [
    state,
    ...(savedBytes === undefined || savedBytes === 0 ? [] : [`saves ${formatBytes(savedBytes)}`]),
    ...(mergeAcrossNodes === false ? ['only within nodes'] : []),
  ].join(', ')
}

function describeZswap({
  state,
  compressor,
  pool,
  maxPoolPercent,
  poolBytes,
  storedBytes,
}: Features['zswap']): string {
  if (state !== 'on') return state
  return [
    state,
    [compressor, pool].filter((word) => word !== undefined).join(' in '),
    ...(maxPoolPercent === undefined ? [] : [`at most ${maxPoolPercent} % of memory`]),
    ...(poolBytes === undefined
      ? []
      : [`${formatBytes(storedBytes ?? 0)} stored in ${formatBytes(poolBytes)}`]),
  ].join(', ')
}

function describePressure({ state, cpuPercent, memoryPercent, ioPercent }: Features['psi']): string {
  if (state !== 'on') return state
  const part = (percent: number | undefined) => `${(percent ?? 0).toFixed(1)} %`
  return `CPU ${part(cpuPercent)}, memory ${part(memoryPercent)}, I/O ${part(ioPercent)} of the last 10 s`
}
