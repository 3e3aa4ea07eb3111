/** Where the time of a start goes: from the moments at which the daemon reached its failpoints (KVASIR_FAILPOINT_TIMES). */
import { readFileSync } from 'node:fs'
import { median } from './statistics.ts'

/** What the daemon has done when it reaches a point. */
const stepsBefore = new Map([
  ['vm.start.before-intent', 'request, job row, decisions'],
  ['vm.start.after-intent', 'store: `starting`'],
  ['vm.start.after-seed', 'seed'],
  ['vm.start.before-launch', 'seed'],
  ['emulator.launch.after-directory', 'directories'],
  ['emulator.launch.after-memo', 'memo, sockets, files, cgroup'],
  ['emulator.launch.after-sockets', 'memo, sockets, files, cgroup'],
  ['emulator.launch.after-network', 'QEMU comes up and is checked'],
  ['emulator.launch.after-spawn', 'the cage is closed, QEMU executed'],
  ['emulator.launch.after-monitor', 'QEMU comes up and is checked'],
  ['emulator.launch.after-threads', 'threads placed'],
  ['emulator.launch.after-seal', 'QEMU comes up and is checked'],
  ['vm.start.after-launch', 'threads placed'],
  ['vm.start.after-resume', 'cont'],
  ['vm.start.after-state', 'store: `running`, job ended'],
])
const afterwards = 'answered'

/** One start: when it was asked for and answered, in milliseconds of the monotonic clock. */
export interface StartSpan {
  readonly askedAt: number
  readonly answeredAt: number
}

/** Now, on the clock of the failpoints' times. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** The median of each step over some starts, in the order of the steps, in milliseconds. */
export function stepsOf(starts: readonly StartSpan[], timesFile: string): ReadonlyMap<string, number> {
  const points = readFileSync(timesFile, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => ({ name: line.split(' ')[0] ?? '', at: Number(line.split(' ')[1]) }))
  const each = starts.map((start) =>
    stepsOfOne(
      start,
      points.filter(({ at }) => at >= start.askedAt && at <= start.answeredAt),
    ),
  )
  const names = [...new Set(each.flatMap((steps) => [...steps.keys()]))]
  return new Map(names.map((name) => [name, median(each.map((steps) => steps.get(name) ?? 0))]))
}

function stepsOfOne(
  start: StartSpan,
  points: readonly { readonly name: string; readonly at: number }[],
): ReadonlyMap<string, number> {
  const steps = new Map<string, number>()
  let before = start.askedAt
  for (const { name, at } of points) {
    const step = stepsBefore.get(name) ?? name
    steps.set(step, (steps.get(step) ?? 0) + at - before)
    before = at
  }
  return steps.set(afterwards, start.answeredAt - before)
}
