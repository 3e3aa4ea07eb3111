/** The snapshots of a VM as a tree of lines. Pure. */
import type { Snapshot } from '@kvasir/contract'
import { formatBytes } from '@kvasir/contract/size'
import { localTime } from '../output/time.ts'

/** What stands for the disks of now. */
const now = '(now)'

/** The lines of the tree: each snapshot under the one that the VM was at before, and where it is at now. */
export function drawTree(snapshots: readonly Snapshot[]): string {
  const names = new Set(snapshots.map(({ name }) => name))
  const roots = snapshots.filter(({ parent }) => parent === undefined || !names.has(parent))
  const lines = roots.flatMap((root, index) =>
    draw(root, snapshots, { lead: '', isLast: index === roots.length - 1 && hasCurrent(snapshots) }),
  )
  return [...lines, ...(hasCurrent(snapshots) ? [] : [`└─ ${now}`])].map((line) => `${line}\n`).join('')
}

function draw(
  snapshot: Snapshot,
  all: readonly Snapshot[],
  place: { readonly lead: string; readonly isLast: boolean },
): readonly string[] {
  const children = all.filter(({ parent }) => parent === snapshot.name)
  const lead = `${place.lead}${place.isLast ? '   ' : '│  '}`
  const last = children.length + (snapshot.current ? 1 : 0) - 1
  return [
    `${place.lead}${place.isLast ? '└─' : '├─'} ${describe(snapshot)}`,
    ...children.flatMap((child, index) => draw(child, all, { lead, isLast: index === last })),
    ...(snapshot.current ? [`${lead}└─ ${now}`] : []),
  ]
}

function describe({ name, createdAt, sizeBytes, state, description }: Snapshot): string {
  const words = [name, localTime(createdAt), formatBytes(sizeBytes)]
  return [...words, ...(state === 'ready' ? [] : [state]), ...(description ? [description] : [])].join('  ')
}

function hasCurrent(snapshots: readonly Snapshot[]): boolean {
  return snapshots.some(({ current }) => current)
}
