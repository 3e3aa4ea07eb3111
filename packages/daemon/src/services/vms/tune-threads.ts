/**
 * The threads of a VM and the host's CPUs: refused, planned, given at a start, changed while the guest runs, put right after an adoption.
 *
 * A run that was ever tuned says so in its row, before anything is done to its threads: so what was taken back is taken back also by
 * a daemon that follows one which died in between.
 *
 * Not here: what threads should get (model/placement), how it is done (host/threads).
 */
import { KvasirError, type PlanChange, type VmSpec } from '@kvasir/contract'
import { type HostCpuSets, requireUsableCpus } from '../../model/placement/host-cpus.ts'
import { layoutOf } from '../../model/placement/layout-of.ts'
import { isTuned, planThreads, type ThreadPlan } from '../../model/placement/plan-threads.ts'
import { unrestricted } from '../../model/placement/thread-layout.ts'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'
import { dedicatedAmong, storedRecords } from '../placement/dedicated-cpus.ts'
import { filesLeftAlone } from './outside-limits.ts'

/** The fields of a spec that threads follow. */
const tuningFields = new Set(
  ['weight', 'quotaPercent', 'cpus', 'pin', 'threadLimits', 'scheduler'].map((field) => `cpu.${field}`),
)

/** Refuses CPUs that a VM cannot be given. A spec that asks for none is not looked at. */
export async function requireTunable(spec: VmSpec, name: string, ports: Ports): Promise<void> {
  if (spec.cpu.cpus === undefined && spec.cpu.pin === undefined) return
  requireUsableCpus(name, spec, await ports.host.cpuSets())
}

/** Refuses a change after which a VM could not be given its CPUs. One that has lost a CPU may still be changed in other ways. */
export async function requireStillTunable(
  vm: { readonly name: string; readonly spec: VmSpec; readonly changes: readonly PlanChange[] },
  ports: Ports,
): Promise<void> {
  const matters = ({ field }: PlanChange) =>
    tuningFields.has(field) || /^(cpu\.(count|max)|disks\.)/.test(field)
  if (vm.changes.some(matters)) await requireTunable(vm.spec, vm.name, ports)
}

/** What the threads of a VM get at its start; undefined when it asks for nothing. */
export async function planTuning(
  { name, spec }: Pick<VmRecord, 'name' | 'spec'>,
  ports: Ports,
): Promise<ThreadPlan | undefined> {
  if (!isTuned(spec.cpu)) return undefined
  return planThreads({ name, cpu: spec.cpu }, await ports.host.cpuSets())
}

/**
 * What the threads of a VM get: what its spec says, where its last start placed it, and for one that is not placed no CPU of those
 * that are taken by dedicated VMs.
 */
export function threadPlan(
  { name, spec, placement }: Pick<VmRecord, 'name' | 'spec' | 'placement'>,
  host: HostCpuSets,
  taken: readonly number[],
): ThreadPlan {
  const { cpu } = spec
  if (placement !== undefined)
    return planThreads({ name, cpu }, host, layoutOf(placement.plan, { cpu, usable: host.allowed }))
  if (taken.length === 0) return planThreads({ name, cpu }, host)
  const free = (cpus: readonly number[]) => cpus.filter((one) => !taken.includes(one))
  const rest = { ...host, allowed: free(host.allowed), inherited: free(host.inherited) }
  return planThreads({ name, cpu }, rest, { ...unrestricted, allowedCpus: rest.inherited })
}

/**
 * Gives the threads of a running VM what a changed spec says, and looks at them anew. What fails is taken back, and so is all of it
 * when `undo` is disposed.
 */
export async function retune(
  seat: Seat,
  wanted: { readonly spec: VmSpec; readonly changes: readonly PlanChange[] },
  work: {
    readonly ports: Ports
    readonly driver: Driver
    readonly undo: AsyncDisposableStack
    /** Files of its cgroup that somebody else has set, and the change does not. */
    readonly leave: readonly string[]
  },
): Promise<void> {
  const { emulator, record } = seat
  const isLive = (change: PlanChange) => change.effect === 'live' && tuningFields.has(change.field)
  if (!emulator || !record.run || !wanted.changes.some(isLive)) return
  const { name } = record
  if (record.life.state === 'unknown')
    throw new KvasirError(
      'emulator-unresponsive',
      `The emulator of VM ${name} does not answer, so its threads keep what they have.`,
    )
  if (record.placementLost !== undefined)
    throw new KvasirError(
      'host-failed',
      `Nobody knows the CPUs that VM ${name} was placed on, since ${record.placementLost}, so its threads keep what they have; start it anew.`,
    )
  const host = await work.ports.host.cpuSets()
  const taken = takenFrom(record, work.ports)
  const { leave } = work
  const after = { ...threadPlan({ ...record, spec: wanted.spec }, host, taken), leave }
  if (!record.run.tuned) seat.update({ run: { ...record.run, tuned: true } })
  const takeBack = async () => {
    try {
      await emulator.threads.apply({ ...threadPlan(record, host, taken), leave }, { asKnown: true })
    } catch (cause) {
      work.ports.log.warn({ vm: name, err: cause }, 'the threads of a VM keep a change that was refused')
    }
  }
  try {
    await emulator.threads.apply(after)
  } catch (error) {
    if (!isUnanswered(error)) await takeBack() // Nothing was changed for an emulator that does not answer.
    throw error
  }
  work.undo.defer(takeBack)
  await work.ports.failpoint('vm.change.after-threads')
  // Who changed it and looks then is not to see the threads as they were.
  const statistics = await emulator.statistics().catch(() => undefined)
  if (statistics) work.driver.remember({ statistics })
}

function isUnanswered(error: unknown): boolean {
  return error instanceof KvasirError && error.code === 'emulator-unresponsive'
}

/** What the threads of a VM that runs get by its record. Limits that somebody else has set stay as they are. */
export async function planRunning(
  record: VmRecord,
  emulator: Emulator,
  { host, taken }: { readonly host: HostCpuSets; readonly taken: readonly number[] },
): Promise<ThreadPlan> {
  return { ...threadPlan(record, host, taken), leave: await filesLeftAlone(record, emulator) }
}

/**
 * Puts the threads of an adopted emulator right, and answers whether they are. One that does not let itself be tuned is adopted all the
 * same.
 */
export async function tuneAdopted({ record, emulator }: Seat, ports: Ports): Promise<boolean> {
  if (!emulator || !hasTunedThreads(record)) return true
  try {
    const host = await ports.host.cpuSets()
    const plan = await planRunning(record, emulator, { host, taken: takenFrom(record, ports) })
    for (const difference of await emulator.threads.inspect(plan))
      ports.log.info({ vm: record.name, difference }, 'a thread of an adopted VM was not as planned')
    await emulator.threads.apply(plan)
    return true
  } catch (cause) {
    ports.log.warn({ vm: record.name, err: cause }, 'the threads of an adopted VM are not as planned')
    return false
  }
}

/** Gives threads that came with what was plugged what its spec says. A thread that does not let itself be tuned is logged. */
export async function tunePlugged({ record, emulator }: Seat, ports: Ports): Promise<void> {
  if (!emulator || !hasTunedThreads(record)) return
  try {
    const host = await ports.host.cpuSets()
    const plan = await planRunning(record, emulator, { host, taken: takenFrom(record, ports) })
    await emulator.threads.apply(plan)
  } catch (cause) {
    ports.log.warn(
      { vm: record.name, err: cause },
      'a thread that came with what was plugged is not as planned',
    )
  }
}

/** How the threads of a running VM differ from what its spec says, in sentences. */
export async function inspectTuning(
  { record, emulator }: Pick<Seat, 'record' | 'emulator'>,
  ports: Ports,
): Promise<readonly string[]> {
  if (!emulator || !hasTunedThreads(record)) return []
  const plan = threadPlan(record, await ports.host.cpuSets(), takenFrom(record, ports))
  return await emulator.threads.inspect(plan)
}

function hasTunedThreads({ spec, run, placement, placementLost }: VmRecord): boolean {
  if (placementLost !== undefined) return false // They stay where they are until they have said where that is.
  return placement !== undefined || isTuned(spec.cpu) || run?.tuned === true
}

function takenFrom({ id }: VmRecord, { store }: Ports): readonly number[] {
  return dedicatedAmong(storedRecords(store), id)
}
