/** Tables for people: a header, aligned columns, two spaces between them, no lines. */
import { cutTo, printable, widthOf } from './width.ts'

/** A column: what it is called and what it shows of a row. */
export interface Column<Row> {
  readonly title: string
  readonly show: (row: Row) => string | number | undefined
  readonly right?: boolean
}

/** How a table is drawn. */
export interface TableStyle {
  /** The width of the terminal; a last column that does not fit is cut. Without it nothing is cut. */
  readonly columns?: number | undefined
  readonly bold: (text: string) => string
}

const gap = 2

/** The lines of a table, each ending with a newline. What is undefined shows as a dash. */
export function formatTable<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  style: TableStyle,
): string {
  const cells = rows.map((row) => columns.map((column) => printable(String(column.show(row) ?? '-'))))
  const widths = columns.map((column, index) =>
    cells.reduce((widest, line) => Math.max(widest, widthOf(line[index] ?? '')), column.title.length),
  )
  const header = style.bold(
    formatLine(
      columns.map((column) => column.title),
      { columns, widths, style },
    ),
  )
  const lines = cells.map((line) => formatLine(line, { columns, widths, style }))
  return [header, ...lines].map((line) => `${line}\n`).join('')
}

interface Layout<Row> {
  readonly columns: readonly Column<Row>[]
  readonly widths: readonly number[]
  readonly style: TableStyle
}

function formatLine<Row>(line: readonly string[], { columns, widths, style }: Layout<Row>): string {
  const last = columns.length - 1
  const before = widths.slice(0, last).reduce((sum, width) => sum + width + gap, 0)
  return line
    .map((cell, index) => {
      if (index === last && columns[index]?.right !== true) {
        return style.columns === undefined ? cell : cutTo(cell, Math.max(8, style.columns - before))
      }
      const padding = ' '.repeat(Math.max(0, (widths[index] ?? 0) - widthOf(cell)))
      return columns[index]?.right ? padding + cell : cell + padding
    })
    .join(' '.repeat(gap))
    .trimEnd()
}

/** Names and values; a value of several lines stands below itself, and one without any is left out, as what is undefined. */
export type Properties = Readonly<Record<string, string | number | readonly string[] | undefined>>

/** The lines of a list of properties: names, then values in one column. */
export function formatProperties(properties: Properties, bold: (text: string) => string): string {
  const entries = Object.entries(properties).filter(([, value]) => value !== undefined)
  const width = entries.reduce((widest, [name]) => Math.max(widest, name.length), 0)
  return entries
    .flatMap(([name, value]) =>
      [value ?? []].flat().map((line, index) => {
        const label = index === 0 ? bold(name.padEnd(width)) : ' '.repeat(width)
        return `${label}  ${printable(String(line))}`.trimEnd()
      }),
    )
    .map((line) => `${line}\n`)
    .join('')
}
