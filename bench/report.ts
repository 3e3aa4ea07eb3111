/** What a benchmark says: a table for people, the same as JSON in bench/results for programs, and whether its promises hold. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Machine } from './describe-machine.ts'

/** A promise about a number, and what was measured. */
export interface Target {
  readonly what: string
  readonly measured: number
  readonly limit: number
  /** Whether the number is to stay below its limit or to reach it. */
  readonly wanted: 'at most' | 'at least'
}

export interface Report {
  readonly name: string
  readonly machine: Machine
  readonly table: { readonly head: readonly string[]; readonly rows: readonly (readonly Cell[])[] }
  readonly targets: readonly Target[]
  /** Further sentences and numbers, kept in the JSON. */
  readonly notes?: readonly string[]
  readonly details?: unknown
}

type Cell = string | number

const resultsDirectory = join(import.meta.dirname, 'results')

/** Prints a report and writes it to bench/results. A missed target is said, and fails nothing: numbers depend on the machine. */
export function tell(report: Report): void {
  const { machine } = report
  console.log(`\n${report.name}`)
  console.log(
    `  ${machine.cores} x ${machine.cpu}, ${machine.memoryGib} GiB, Linux ${machine.kernel}, QEMU ${machine.qemu}, ` +
      `${machine.accelerator}, Node ${machine.node}, commit ${machine.commit}, load ${machine.loadBefore}`,
  )
  for (const line of tableLines(report.table)) console.log(`  ${line}`)
  for (const target of report.targets) console.log(`  ${targetLine(target)}`)
  for (const note of report.notes ?? []) console.log(`  ${note}`)
  mkdirSync(resultsDirectory, { recursive: true })
  const record = { ...report, at: new Date().toISOString(), targets: report.targets.map(judged) }
  writeFileSync(join(resultsDirectory, `${report.name}.json`), `${JSON.stringify(record, undefined, 2)}\n`)
}

function judged(target: Target): Target & { readonly met: boolean } {
  const { wanted, measured, limit } = target
  return { ...target, met: wanted === 'at most' ? measured <= limit : measured >= limit }
}

function targetLine(target: Target): string {
  const { what, wanted, measured, limit, met } = judged(target)
  return `${met ? 'met   ' : 'MISSED'} ${what}: ${shown(measured)}, ${wanted} ${shown(limit)} wanted`
}

function tableLines({ head, rows }: Report['table']): readonly string[] {
  const texts = [head, ...rows.map((row) => row.map(shown))]
  const widths = head.map((_, column) => Math.max(...texts.map((row) => row[column]?.length ?? 0)))
  return texts.map((row) =>
    row
      .map((text, column) =>
        column === 0 ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0),
      )
      .join('  '),
  )
}

/** A number as a person reads it: three digits that count. */
function shown(cell: Cell): string {
  if (typeof cell === 'string') return cell
  return Math.abs(cell) >= 100 ? cell.toFixed(0) : cell.toFixed(Math.abs(cell) >= 10 ? 1 : 2)
}
