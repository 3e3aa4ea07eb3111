/** The kernel's files of reserved huge pages, per node and size. Facts: Documentation/admin-guide/mm/hugetlbpage.rst, mm/hugetlb.c. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import type { HugepageReading, NodePages } from '../../model/memory/hugepages.ts'
import { type KernelWrite, type KernelWriteOptions, writeKernelFile } from './write-kernel-file.ts'

const nodesFolder = '/sys/devices/system/node'

/** Reads the pools of one page size. */
export function readPools(pageBytes: number, mayReserve: boolean): HugepageReading {
  const nodes = listNodes()
    .filter((node) => existsSync(poolFolder(node, pageBytes)))
    .map((node): NodePages => {
      const count = (name: string) => readNumber(`${poolFolder(node, pageBytes)}/${name}`)
      return {
        node,
        total: count('nr_hugepages'),
        free: count('free_hugepages'),
        availableBytes: availableBytesOf(node),
      }
    })
  return {
    support: supportOf(nodes.length > 0, pageBytes),
    nodes,
    isNuma: existsSync(nodesFolder),
    mayReserve,
  }
}

/** Pages of a node that stay when nobody uses them: surplus pages (nr_overcommit_hugepages) go by themselves. */
export function persistentPages(node: number, pageBytes: number): number {
  const folder = poolFolder(node, pageBytes)
  return readNumber(`${folder}/nr_hugepages`) - readNumber(`${folder}/surplus_hugepages`)
}

/** A pool of pages. */
export interface Pool {
  readonly node: number
  readonly pageBytes: number
}

/**
 * Asks the kernel for so many pages in a pool; how many there are then, `persistentPages` says. Fewer than are in use is no harm: those
 * become surplus and go when they are let go of. Takes as long as the kernel moves memory.
 */
export async function setPersistentPages(
  { node, pageBytes }: Pool,
  pages: number,
  options: KernelWriteOptions,
): Promise<KernelWrite> {
  const text = String(Math.max(0, pages))
  return await writeKernelFile(`${poolFolder(node, pageBytes)}/nr_hugepages`, text, options)
}

/** Moves memory of a node together, so that large pieces come to be. Where the kernel has no such file, nothing happens. */
export async function compact(node: number, options: KernelWriteOptions): Promise<KernelWrite> {
  const file = `${nodesFolder}/node${node}/compact`
  return existsSync(file) ? await writeKernelFile(file, '1', options) : 'refused'
}

/** Memory of a node that is free, or that only caches files; undefined where the kernel does not say it. */
export function availableBytesOf(node: number): number | undefined {
  const file = `${nodesFolder}/node${node}/meminfo`
  const text = existsSync(file) ? readFileSync(file, 'utf8') : readFileSync('/proc/meminfo', 'utf8')
  const parts = ['MemFree', 'Active\\(file\\)', 'Inactive\\(file\\)', 'SReclaimable'].map(
    (name) => new RegExp(`\\b${name}:\\s+(\\d+) kB`).exec(text)?.[1],
  )
  if (parts[0] === undefined) return undefined
  return parts.reduce((sum, kib) => sum + Number(kib ?? 0) * 1024, 0)
}

function supportOf(hasPools: boolean, pageBytes: number): HugepageReading['support'] {
  if (hasPools) return 'supported'
  const isGigabyte = pageBytes === 2 ** 30
  return isGigabyte && !/^flags\s*:.*\bpdpe1gb\b/m.test(readFileSync('/proc/cpuinfo', 'utf8'))
    ? 'no-processor'
    : 'no-kernel'
}

function listNodes(): readonly number[] {
  if (!existsSync(nodesFolder)) return [0]
  return readdirSync(nodesFolder)
    .flatMap((name) => /^node(\d{1,4})$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b)
}

function poolFolder(node: number, pageBytes: number): string {
  const pool = `hugepages/hugepages-${pageBytes / 1024}kB`
  return existsSync(nodesFolder) ? `${nodesFolder}/node${node}/${pool}` : `/sys/kernel/mm/${pool}`
}

function readNumber(path: string): number {
  return existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0
}
