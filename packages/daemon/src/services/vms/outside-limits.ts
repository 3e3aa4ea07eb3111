/** Limits of a running VM that somebody outside Kvasir has set: looked for before its limits are written, and told of. */
import type { PlanChange } from '@kvasir/contract'
import { type LimitFiles, limitFiles, type OutsideLimit, outsideLimits } from '../../model/vm/limit-files.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { VmRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'

/** What somebody else has set of a VM's limits, and the spec of the record does not set anew. */
export async function findOutsideLimits(
  { spec, run }: Pick<VmRecord, 'spec' | 'run'>,
  emulator: Emulator,
): Promise<readonly OutsideLimit[]> {
  const written = run?.limits
  if (written === undefined) return []
  const found = await emulator.limits(Object.keys(written))
  return outsideLimits({ written, wanted: limitFiles(spec), found })
}

/** The files of a VM's cgroup that are left as they are. */
export async function filesLeftAlone(
  record: Pick<VmRecord, 'spec' | 'run'>,
  emulator: Emulator,
): Promise<readonly string[]> {
  return (await findOutsideLimits(record, emulator)).map(({ file }) => file)
}

/** Tells of limits that an adopted emulator was found with. */
export async function tellOutsideLimits(
  { record, emulator }: Seat,
  { ports, emit }: Pick<Context, 'ports' | 'emit'>,
): Promise<void> {
  if (!emulator) return
  const limits = await findOutsideLimits(record, emulator)
  if (limits.length === 0) return
  ports.log.warn({ vm: record.name, limits }, 'limits of a VM were set by somebody else, and stay so')
  emit('vm.limits-kept', record.name, { uuid: record.id, limits: limits.map((limit) => ({ ...limit })) })
}

const limitFields = ['memory.high', 'memory.hard', 'memory.swap', 'cpu.weight', 'cpu.quotaPercent']

/**
 * Begins to change a VM that may get other limits by it: until the end nobody knows what was written, so a daemon that follows one which
 * died meanwhile takes none for somebody else's. Answers the files that the change leaves alone.
 */
export async function beginLimits(
  seat: Seat,
  wanted: { readonly spec: VmRecord['spec']; readonly changes: readonly PlanChange[] },
  undo: AsyncDisposableStack,
): Promise<{ readonly leave: readonly string[]; readonly end: () => void }> {
  const { emulator } = seat
  const { run } = seat.record
  const live = wanted.changes.filter(({ effect }) => effect === 'live')
  if (!emulator || !run || live.length === 0) return { leave: [], end: () => {} }
  const leave = await filesLeftAlone({ run, spec: wanted.spec }, emulator)
  if (!live.some(({ field }) => limitFields.includes(field))) return { leave, end: () => {} }
  const { limits } = run
  seat.update({ run: { ...run, limits: undefined } })
  undo.defer(() => {
    if (seat.record.run) seat.update({ run: { ...seat.record.run, limits } })
  })
  return { leave, end: () => noteLimits(seat) }
}

/** Writes down that the limits of a VM are what its spec says. */
export function noteLimits(seat: Seat): void {
  const { run, spec } = seat.record
  const limits = limitFiles(spec)
  if (run && !isSameFiles(run.limits, limits)) seat.update({ run: { ...run, limits } })
}

function isSameFiles(one: LimitFiles | undefined, other: LimitFiles): boolean {
  return Object.entries(other).every(([file, text]) => one?.[file] === text)
}

/** A sentence for each limit that is not what Kvasir wrote. */
export function limitSentences(limits: readonly OutsideLimit[]): readonly string[] {
  return limits.map(
    ({ file, found, written }) =>
      `${file} of its cgroup was set to ${found} by somebody else and stays so; Kvasir had written ${written}.`,
  )
}
