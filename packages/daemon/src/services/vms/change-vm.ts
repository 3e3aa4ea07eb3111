/** Changes the spec of a VM: plan first, then everything that the plan allows in one transaction. */
import type { PlanChange, Vm, VmPlan, VmSpec } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
import { planHardware } from '../../model/pci/allocate.ts'
import { mergeKept } from '../../model/vm/merge-kept.ts'
import { planChanges } from '../../model/vm/plan-changes.ts'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { VmRecord, VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { lacks3d } from '../host/graphics.ts'
import { wireNics } from '../networks/nic-networks.ts'
import { requireOwnNics } from '../networks/own-nics.ts'
import { requireUnclaimed, requireUnheard } from '../networks/ports-of-host.ts'
import { requireNoneWorkedOn } from '../volumes/hold-volume.ts'
import { discardVolume, makeVolumeFile } from '../volumes/volume-files.ts'
import { volumeWords } from '../volumes/volume-words.ts'
import { actionsInLine, bringMemoryInLine, linksInLine, throttleInLine } from './bring-in-line.ts'
import { createVm, hardwareHost, requireFreeName } from './create-vm.ts'
import { requireRevision } from './delete-vm.ts'
import { ensureSetDisks } from './disk-job.ts'
import { judgeSurvival } from './judge-survival.ts'
import { planVolumes, requireStillFree } from './make-volumes.ts'
import { ensureMoving } from './moving-job.ts'
import { movingKinds } from './moving-kinds.ts'
import { beginLimits } from './outside-limits.ts'
import { requireBuildable } from './prepare-start.ts'
import { requireFits } from './require-fits.ts'
import { requireLiveHostDevices } from './require-host-devices.ts'
import { requireLiveNics } from './require-nics.ts'
import { resolveSpec } from './resolve-spec.ts'
import { isStill, movementOf, runOnItsWay } from './run-on-its-way.ts'
import { showView } from './show-vm.ts'
import { situationOf } from './situation.ts'
import { requireStillTunable, requireTunable, retune } from './tune-threads.ts'
import { beginSetVcpus, lacksVcpus } from './vcpu-job.ts'

interface Wanted {
  readonly name: string
  readonly spec: VmSpec
  readonly ifMatch: number | undefined
  /** Who asks, where a user does. */
  readonly owner?: string
  /** Writes the answer down, in the transaction that makes the VM or the change. */
  readonly keep: (vm: Vm) => void
}

/** What applying a spec would do, field by field. Changes nothing. */
export async function planVm(wanted: Pick<Wanted, 'name' | 'spec'>, context: Context): Promise<VmPlan> {
  const driver = findDriver(wanted.name, context)
  if (!driver) {
    const id = context.ports.clock.uuid()
    const { spec } = await resolveSpec(wanted.spec, { uuid: id, name: wanted.name }, context.ports)
    await requireFits(spec, wanted.name, context.ports)
    await requireTunable(spec, wanted.name, context.ports)
    const planned = await planVolumes(spec, { id, name: wanted.name }, context.ports)
    const hardware = planHardware(planned.spec, undefined, await hardwareHost(id, context))
    await requireBuildable({ id, name: wanted.name, spec: planned.spec, hardware }, context.ports)
    return { name: wanted.name, action: 'create', changes: [] }
  }
  const view = driver.view()
  const { record } = view
  const { spec, changes } = await decide(view, wanted.spec, context)
  if (changes.some(isHardware)) {
    const host = await hardwareHost(record.id, context)
    const hardware = planHardware(spec, record.hardware, { ...host, booted: record.run?.bootedHardware })
    await requireBuildable({ ...record, spec, hardware }, context.ports, { hasCpu: keepsCpu(changes) })
  }
  const refused = changes.some((change) => change.effect === 'refused')
  return {
    name: wanted.name,
    action: refused ? 'refused' : changes.length > 0 ? 'change' : 'nothing',
    changes: [...changes],
  }
}

/** Creates the VM, or changes its spec to the one wanted; `plan-refused` names every field that cannot be changed. */
export async function applyVm(wanted: Wanted, context: Context): Promise<Driver> {
  const driver = findDriver(wanted.name, context)
  if (!driver) {
    requireNoRevision(wanted)
    return await createVm(wanted, context)
  }
  await driver.take('edit', (seat) => change(seat, wanted, { context, driver }))
  return driver
}

/** What `changeVm` may be told besides. */
interface ChangeOptions {
  /** Who asks, where a user does. */
  readonly owner?: string
  /** Done in the same turn before anything is written down. */
  readonly before?: (seat: Seat, wanted: VmSpec) => Promise<void>
}

/** Changes the spec of a VM to what `make` makes of its record, in one turn, so that no other change comes in between. */
export async function changeVm(
  driver: Driver,
  make: (record: VmRecord) => VmSpec,
  context: Context,
  { owner = 'daemon', before }: ChangeOptions = {},
): Promise<void> {
  await driver.take('edit', async (seat) => {
    const { name } = seat.record
    const wanted = { name, spec: make(seat.record), ifMatch: undefined, owner, keep: () => {} }
    await before?.(seat, wanted.spec)
    await change(seat, wanted, { context, driver })
  })
}

/** Gives a VM another name. Its id, disks and hardware stay. */
export async function renameVm(
  driver: Driver,
  request: { readonly name: string; readonly ifMatch: number | undefined },
  context: Context,
): Promise<void> {
  const { ports } = context
  await driver.take('rename', async (seat) => {
    requireRevision(seat.record, request.ifMatch)
    const before = seat.record.name
    if (before === request.name) return
    requireFreeName(request.name, context)
    await ports.failpoint('vm.rename.before-row')
    seat.update({ name: request.name, revision: seat.record.revision + 1 }, () =>
      context.emit('vm.renamed', request.name, { uuid: seat.record.id, from: before }),
    )
    await ports.failpoint('vm.rename.after-row')
  })
}

function requireNoRevision({ name, ifMatch }: Wanted): void {
  if (ifMatch === undefined) return
  throw new KvasirError(
    'revision-mismatch',
    `There is no VM ${name}, so it is not at revision ${ifMatch} and the change is refused.`,
  )
}

function findDriver(name: string, context: Context): Driver | undefined {
  return context.drivers.list().find((driver) => driver.view().record.name === name)
}

async function decide(
  { record, emulator }: Pick<Seat, 'record' | 'emulator'>,
  wanted: VmSpec,
  context: Context,
): Promise<{ readonly spec: VmSpec; readonly changes: readonly PlanChange[] }> {
  const kept = mergeKept(record.spec, wanted)
  const { spec } = await resolveSpec(kept, { uuid: record.id, name: record.name }, context.ports)
  await requireFits(spec, record.name, context.ports)
  const situation = { ...situationOf(record, context.ports), lacks3d: await lacks3d(spec, context.ports) }
  const changes = planChanges(record.spec, spec, situation)
  await requireStillTunable({ name: record.name, spec, changes }, context.ports)
  await requireLiveNics({ record, emulator }, { spec, changes }, context.ports)
  await requireLiveHostDevices({ record, emulator }, { spec, changes }, context.ports)
  return { spec, changes: await judgeSurvival({ emulator }, spec, changes) }
}

async function change(
  seat: Seat,
  wanted: Wanted,
  { context, driver }: { readonly context: Context; readonly driver: Driver },
): Promise<void> {
  const { ports } = context
  requireRevision(seat.record, wanted.ifMatch)
  const { spec, changes } = await decide(seat, wanted.spec, context)
  const setsVcpus = changesVcpus({ ...seat.record, spec }, changes, context)
  const moving = movementOf(seat.record, { spec, changes }, context)
  if (changes.length === 0 && !setsVcpus && isStill(moving)) return
  requireNoneRefused(seat.record, changes)
  requireNoneWorkedOn(seat.record, spec, ports)
  if (changes.some(isLiveNic)) await requireUnheard({ ...seat.record, spec }, ports)

  const vm = { id: seat.record.id, name: seat.record.name }
  const planned = await planVolumes(spec, vm, ports)
  const host = await hardwareHost(seat.record.id, context)
  const { hardware: before, run: running } = seat.record
  const hardware = planHardware(planned.spec, before, { ...host, booted: running?.bootedHardware })
  if (changes.some(isHardware)) {
    const hasCpu = keepsCpu(changes)
    await requireBuildable({ ...vm, spec: planned.spec, hardware }, ports, { hasCpu })
  }
  await using undo = new AsyncDisposableStack()
  const limits = await beginLimits(seat, { spec, changes }, undo)
  await retune(seat, { spec, changes }, { ports, driver, undo, leave: limits.leave })
  await ports.failpoint('vm.change.before-row')
  const made: VolumeRecord[] = []
  for (const row of planned.rows) {
    ports.store.volumes.insert(row)
    undo.defer(() => discardVolume(row, ports))
    await ports.failpoint('vm.change.after-volume-row')
    made.push(await makeVolumeFile(row, ports))
    await ports.failpoint('vm.change.after-volume-file')
  }
  const after = {
    spec: planned.spec,
    hardware,
    revision: seat.record.revision + (changes.length > 0 ? 1 : 0),
    ...runOnItsWay(seat.record, {
      ...moving,
      ...(setsVcpus || changes.some(isVcpuCount)
        ? { vcpuTarget: setsVcpus ? spec.cpu.count : undefined }
        : {}),
    }),
  }
  seat.update(after, () => {
    requireStillFree(planned, vm, context)
    requireOwnNics(vm, planned.spec, ports)
    if (changes.some(isLiveNic)) requireUnclaimed({ ...vm, spec: planned.spec }, context.drivers)
    for (const row of made) {
      ports.store.volumes.update({ ...row, phase: 'ready' })
      context.emit('volume.created', volumeWords(row), { id: row.id, vm: vm.name })
    }
    if (changes.length > 0)
      context.emit('vm.changed', vm.name, { uuid: vm.id, fields: changes.map((change) => change.field) })
    wanted.keep(showView({ ...driver.view(), record: { ...seat.record, ...after } }, context))
  })
  undo.move()
  await ports.failpoint('vm.change.after-row')
  const { owner = 'daemon' } = wanted
  if (setsVcpus) beginSetVcpus(driver, context, owner)
  if (moving.disks.length > 0) ensureSetDisks(driver, context, owner)
  for (const kind of movingKinds)
    if (seat.record.run?.[kind.field] !== undefined) ensureMoving(kind, driver, { context, owner })
  await tellEmulator(seat, { changes, leave: limits.leave, context })
  limits.end()
}

/** Whether a change is one that a plan of the emulator would have to allow. */
function isHardware({ effect, field }: PlanChange): boolean {
  return (
    effect === 'next-boot' ||
    field === 'cpu.count' ||
    /^(disks|nics|hostDevices|shares|devices)\./.test(field)
  )
}

/** Whether a change is one that a network carries out while the guest runs. */
function isLiveNic({ effect, field }: PlanChange): boolean {
  return effect === 'live' && field.startsWith('nics.')
}

/** Whether the guest goes on with the CPU that it has. */
function keepsCpu(changes: readonly PlanChange[]): boolean {
  return !changes.some(({ field }) => /^(accelerator|cpu\.(model|features|nested))/.test(field))
}

function isVcpuCount({ field }: PlanChange): boolean {
  return field === 'cpu.count'
}

/** Whether vCPUs are to be plugged or taken away now: by this change, or because an earlier one did not get so far. */
function changesVcpus(record: VmRecord, changes: readonly PlanChange[], context: Context): boolean {
  const isLive = (change: PlanChange) => isVcpuCount(change) && change.effect === 'live'
  if (changes.length > 0) return changes.some(isLive)
  if (!record.run || !lacksVcpus(record, context)) return false
  return planChanges(record.run.bootedSpec, record.spec, situationOf(record, context.ports)).some(isLive)
}

/** What counts at once is in the row; an emulator, or a network, that cannot be told now is told when it is adopted, and the caller hears of it. */
async function tellEmulator(
  { record, emulator }: Seat,
  {
    changes,
    leave,
    context,
  }: {
    readonly changes: readonly PlanChange[]
    readonly leave: readonly string[]
    readonly context: Context
  },
): Promise<void> {
  if (changes.some(isLiveNic)) await wireNics(record, context, ({ network }) => network !== undefined)
  if (!emulator) return
  const isLive = (fields: RegExp) =>
    changes.some(({ effect, field }) => effect === 'live' && fields.test(field))
  if (isLive(/^memory\./)) await bringMemoryInLine(record, emulator, leave)
  if (isLive(/^disks\..*\.throttle$/)) await throttleInLine(record, emulator)
  if (isLive(/^lifecycle\.on(Reboot|Watchdog)$/)) await actionsInLine(record, emulator)
  if (isLive(/^nics\..*\.link$/)) await linksInLine(record, emulator)
}

function requireNoneRefused(record: VmRecord, changes: readonly PlanChange[]): void {
  const refused = changes.filter((change) => change.effect === 'refused')
  if (refused.length === 0) return
  const [first] = refused
  const more = refused.length > 1 ? ` (and ${refused.length - 1} more)` : ''
  throw new KvasirError(
    'plan-refused',
    `VM ${record.name} keeps its spec: ${first?.field} cannot change, because ${first?.reason}${more}.`,
    { details: { refused: refused.map(({ field, reason }) => ({ field, reason })) } },
  )
}
