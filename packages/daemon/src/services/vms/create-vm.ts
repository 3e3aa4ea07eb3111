/**
 * Creates a VM: one row that says `creating`, then its files, then `ready`.
 *
 * Whatever ends this in between, recovery finds the row and undoes it: the journal is the phase of the rows.
 */
import type { Vm, VmSpec } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
import { planHardware } from '../../model/pci/allocate.ts'
import { neverStarted } from '../../model/vm/failed-start.ts'
import type { Driver } from '../../ports/drivers.ts'
import type { VmRecord, VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { requireOwnNics } from '../networks/own-nics.ts'
import { makeVolumeFile } from '../volumes/volume-files.ts'
import { volumeWords } from '../volumes/volume-words.ts'
import { type PlannedVolumes, planVolumes, requireStillFree } from './make-volumes.ts'
import { requireBuildable } from './prepare-start.ts'
import { requireFits } from './require-fits.ts'
import { resolveSpec } from './resolve-spec.ts'
import { showNewVm } from './show-vm.ts'
import { requireTunable } from './tune-threads.ts'
import { undoCreation } from './undo-creation.ts'

export interface CreateRequest {
  readonly name: string
  readonly spec: VmSpec
  /** It is to be started next, which its row says until that was tried: a daemon that dies in between is followed by one that does. */
  readonly starts?: boolean
  /** Writes the answer down, in the transaction in which the VM becomes whole. */
  readonly keep: (vm: Vm) => void
}

/** Creates a shut-off VM of a name and a spec. `name-taken` when there is one. */
export async function createVm(request: CreateRequest, context: Context): Promise<Driver> {
  const { ports } = context
  requireFreeName(request.name, context)
  const id = ports.clock.uuid()
  const resolved = await resolveSpec(request.spec, { uuid: id, name: request.name }, ports)
  await requireFits(resolved.spec, request.name, ports)
  await requireTunable(resolved.spec, request.name, ports)
  const planned = await planVolumes(resolved.spec, { id, name: request.name }, ports)
  const hardware = planHardware(planned.spec, undefined, await hardwareHost(id, context))
  await requireBuildable({ id, name: request.name, spec: planned.spec, hardware }, ports)

  await ports.failpoint('vm.create.before-row')
  const record = insertRows({ id, name: request.name, planned, hardware }, context)
  await using undo = new AsyncDisposableStack()
  undo.defer(() => undoCreation(id, ports))
  await ports.failpoint('vm.create.after-row')

  const rows: VolumeRecord[] = []
  for (const row of planned.rows) {
    rows.push(await makeVolumeFile(row, ports))
    await ports.failpoint('vm.create.after-volume-file')
  }

  await ports.failpoint('vm.create.before-ready')
  const ready = markReady(record, { planned: { ...planned, rows }, request }, context)
  undo.move()
  const driver = context.drivers.add(ready)
  await ports.failpoint('vm.create.after-ready')
  return driver
}

/** What pins the hardware of a new VM. */
export async function hardwareHost(
  id: string,
  context: Context,
): Promise<Parameters<typeof planHardware>[2]> {
  return { qemu: await context.ports.host.qemu(), vsockCid: vsockCidOf(id, context) }
}

/**
 * A vsock address that no other VM has, or has yet until its next boot: 3 is the first that a guest may have. As long as it is free, a
 * VM gets the same one each time.
 */
function vsockCidOf(id: string, context: Context): number {
  const others = context.drivers.list().map((driver) => driver.view().record)
  const taken = new Set(
    others
      .filter((other) => other.id !== id)
      .flatMap(({ hardware, run, saved }) => [hardware, run?.bootedHardware, saved?.booted?.hardware])
      .map((hardware) => hardware?.vsockCid),
  )
  let cid = 3 + (Number.parseInt(id.slice(0, 6), 16) % 1_000_000)
  while (taken.has(cid)) cid++
  return cid
}

/** Refuses a name that a VM has. */
export function requireFreeName(name: string, context: Context): void {
  if (context.ports.store.vms.findByName(name))
    throw new KvasirError('name-taken', `There is a VM ${name} already, so no other one can have that name.`)
}

function insertRows(
  made: {
    readonly id: string
    readonly name: string
    readonly planned: PlannedVolumes
    readonly hardware: VmRecord['hardware']
  },
  context: Context,
): VmRecord {
  const { store, clock, bootId } = context.ports
  const now = clock.now()
  return store.transaction(() => {
    requireStillFree(made.planned, made, context)
    requireOwnNics(made, made.planned.spec, context.ports)
    const record: VmRecord = {
      id: made.id,
      name: made.name,
      revision: 1,
      createdAt: now,
      phase: 'creating',
      intent: 'none',
      uid: store.uids.allocate(made.id, bootId),
      spec: made.planned.spec,
      hardware: made.hardware,
      life: { state: 'shutoff', reason: neverStarted, since: now },
      run: undefined,
      saved: undefined,
    }
    store.vms.insert(record)
    for (const row of made.planned.rows) store.volumes.insert(row)
    return record
  })
}

function markReady(
  record: VmRecord,
  { planned, request }: { readonly planned: PlannedVolumes; readonly request: CreateRequest },
  context: Context,
): VmRecord {
  const { store } = context.ports
  const ready: VmRecord = { ...record, phase: 'ready', intent: request.starts ? 'restart' : 'none' }
  store.transaction(() => {
    for (const row of planned.rows) {
      store.volumes.update({ ...row, phase: 'ready' })
      context.emit('volume.created', volumeWords(row), { id: row.id, vm: record.name })
    }
    store.vms.update(ready)
    context.emit('vm.created', record.name, { uuid: record.id })
    request.keep(showNewVm(ready, context))
  })
  return ready
}
