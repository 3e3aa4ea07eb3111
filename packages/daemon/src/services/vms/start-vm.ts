/**
 * Starts a VM, or resumes a saved one.
 *
 *     intent `start` ─▶ seed ─▶ launch (stands before its first instruction) ─▶ forget saved memory ─▶ resume ─▶ `running`
 *
 * Saved memory is forgotten before the guest runs: from then on the disks move away from it, and loading it twice would damage them.
 */
import { KvasirError } from '@kvasir/contract'
import { pagesAtPlace } from '../../model/memory/hugepages.ts'
import { bootMemoryBytes } from '../../model/memory/plug-memory.ts'
import { limitFiles } from '../../model/vm/limit-files.ts'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import { ofThisBoot, type VmRecord, type VmRun } from '../../ports/store.ts'
import { encodeMemo } from '../../ports/vm-memo.ts'
import { resumeNoted, takeNotesBack } from '../checkpoints/put-away.ts'
import type { Context } from '../context.ts'
import { requireUnlent } from '../host/host-devices.ts'
import { announceNics, makeMacvtaps, requireUnheldLinks } from '../networks/nic-networks.ts'
import { requireUnclaimed } from '../networks/ports-of-host.ts'
import { makeRoom } from '../placement/make-room.ts'
import { mayFitSoon, placeStart, readPlacementFacts } from '../placement/place-vm.ts'
import { yieldAtStart, yieldCpus, yieldSinceStart } from '../placement/yield-cpus.ts'
import { settleSnapshots } from '../snapshots/settle-snapshots.ts'
import { namingVolume } from '../volumes/damaged-volume.ts'
import { bringNewInLine, bringRestoredInLine, limitsOf } from './bring-in-line.ts'
import { writeSeed } from './cloud-init-seed.ts'
import { ensurePlatform } from './nvram.ts'
import { type PreparedStart, prepareStart } from './prepare-start.ts'
import { tellOfFailedStart } from './tell-of-failed-start.ts'
import { threadPlan } from './tune-threads.ts'

/** What a start works with: the ports, and the other VMs, beside which it is placed. */
export type StartContext = Pick<Context, 'ports' | 'drivers' | 'networks' | 'placementMoves'>

export interface StartOptions {
  readonly jobId?: string
  readonly signal: AbortSignal
  readonly onStep: (step: string) => void
  /** Writes down that the VM runs. Whoever has more to write with that gives it to `write`; without it, nobody has. */
  readonly conclude?: (write: (alongside?: () => void) => void) => void
}

/** Starts a VM. On failure the VM is what it was before, and its reason tells of that too. */
export async function startVm(driver: Driver, context: StartContext, options: StartOptions): Promise<void> {
  const { jobId, onStep } = options
  const { ports } = context
  await driver.take(
    'start',
    async (seat) => {
      const signal = AbortSignal.any([seat.signal, options.signal])
      ports.emulators.announceLaunch()
      onStep('preparing')
      await settleSnapshots(seat, ports) // What could not be when its emulator ended.
      const prepared = await prepare(seat, signal, ports)
      const conclude = options.conclude ?? ((write) => write())
      await runStart(seat, prepared, { ...context, signal, onStep, conclude })
    },
    jobId === undefined ? {} : { jobId },
  )
}

async function prepare(seat: Seat, signal: AbortSignal, ports: Ports): Promise<PreparedStart> {
  try {
    const prepared = await prepareStart(seat.record, ports)
    signal.throwIfAborted()
    return prepared
  } catch (error) {
    const isLeaving = error instanceof KvasirError && error.code === 'shutting-down'
    if (!isLeaving)
      tellOfFailedStart(seat, { former: seat.record.life, saved: seat.record.saved, error }, ports)
    throw error
  }
}

/** Starts a VM again after its emulator was ended for that; until it was tried, the record says that it is to be. */
export async function restartVm(
  driver: Driver,
  context: StartContext,
  options: StartOptions = { signal: new AbortController().signal, onStep: () => {} },
): Promise<void> {
  try {
    await startVm(driver, context, options)
  } catch (error) {
    await ceaseRestart(driver)
    throw error
  }
}

/** The VM is not to be started any more. */
export async function ceaseRestart(driver: Driver): Promise<void> {
  await driver.take('edit', async (seat) => {
    if (seat.record.intent === 'restart') seat.update({ intent: 'none' })
  })
}

interface StartWork extends StartContext, Required<Omit<StartOptions, 'jobId'>> {}

async function runStart(seat: Seat, prepared: PreparedStart, work: StartWork): Promise<void> {
  const { ports, signal, onStep, conclude } = work
  const before = seat.record.life
  const { saved } = seat.record
  const restoring = saved !== undefined
  let isUntouched = true
  try {
    await ports.failpoint('vm.start.before-intent')
    await makeRoom({ ...seat.record, spec: prepared.spec }, prepared.place?.facts, work)
    const { placement, start } = await findPlace(seat, { prepared, before }, work)
    await ports.failpoint('vm.start.after-intent')
    await using undo = new AsyncDisposableStack()
    await ensurePlatform(seat, prepared, ports)
    await writeSeed({ ...seat.record, spec: prepared.spec }, ports)
    await ports.failpoint('vm.start.after-seed')
    await makeMacvtaps(seat.record, work)
    // The rules take as long as an emulator takes to come up, and no guest sends anything before it is resumed.
    const announced = announceNics(seat.record, work)
    announced.catch(() => {})

    onStep(restoring ? 'loading saved memory' : 'starting the emulator')
    const emulator = await launch(seat, start, { ports, signal, undo })
    // First: what follows lets recovery resume it.
    await takeNotesBack(seat.record, { emulator, spec: prepared.spec }, ports)
    if (restoring) await forgetSaved(seat, ports)
    signal.throwIfAborted()
    const run = { ...runOf(start, emulator), limits: limitFiles(seat.record.spec) }
    if (restoring) await bringRestoredInLine({ ...seat.record, run }, emulator)
    else await bringNewInLine(seat.record, emulator)
    const taken = await yieldAtStart(seat, emulator, work)
    if (placement?.plan.placement === 'dedicated') await yieldCpus(work)

    await announced
    onStep('resuming the guest')
    isUntouched = false
    await resumeNoted(emulator, prepared.spec, ports)
    await ports.failpoint('vm.start.after-resume')
    seat.attach(emulator)
    const running = {
      intent: 'none',
      saved: undefined,
      lifeBeforeStart: undefined,
      restartsBegun: undefined,
      run: taken.length > 0 ? { ...run, tuned: true } : run,
      life: seat.life('running', restoring ? 'its saved memory was loaded' : 'it was started'),
    } as const
    // Saved memory is still to be removed, and its job lasts as long.
    if (restoring) seat.update(running)
    else conclude((alongside) => seat.update(running, alongside, ofThisBoot))
    undo.move() // The emulator stays.
    await yieldSinceStart(seat, taken, work)
  } catch (error) {
    tellOfFailedStart(seat, { former: before, saved: isUntouched ? saved : undefined, error }, ports)
    if (restoring && !isUntouched) await ports.files.removeSave(seat.record.id)
    throw error
  }
  try {
    await ports.failpoint('vm.start.after-state')
  } finally {
    if (restoring) await ports.files.removeSave(seat.record.id)
  }
}

/** How long a start waits for others to have taken their memory, where it seems that there is none for it, and how often it looks. */
const longestWaitMs = 60_000
const pauseMs = 200

/** Finds the place of the VM and writes it down. While others start, memory that they take may count twice: a refusal is looked at again. */
async function findPlace(
  seat: Seat,
  { prepared, before }: { readonly prepared: PreparedStart; readonly before: VmRecord['life'] },
  work: StartWork,
) {
  const { ports, signal } = work
  const { clock } = ports
  const deadline = clock.monotonicMs() + longestWaitMs
  for (let now = prepared; ; ) {
    try {
      const place = takePlace(seat, now, work)
      requireUnclaimed(seat.record, work.drivers)
      requireUnheldLinks(seat.record, work)
      requireUnlent(seat.record, place.start.hardware, work.drivers)
      writeIntent(seat, { ...place, before })
      return place
    } catch (error) {
      if (isVfGone(error, now)) {
        now = await prepareStart(seat.record, ports)
        continue
      }
      const vm = { ...seat.record, spec: now.spec }
      const isHopeful = now.place !== undefined && mayFitSoon(vm, now.place.facts, work.drivers)
      if (!isPlaceless(error) || !isHopeful || clock.monotonicMs() >= deadline) throw error
    }
    await clock.sleep(pauseMs, signal)
    signal.throwIfAborted()
    const facts = await readPlacementFacts(now.spec, ports)
    now = { ...now, place: facts && now.place && { ...now.place, facts } }
  }
}

/** Another VM that starts was given the same virtual function; which it is, is chosen among those that are left. */
function isVfGone(error: unknown, { hardware }: PreparedStart): boolean {
  if (!(error instanceof KvasirError) || error.code !== 'in-use') return false
  return Object.values(hardware.vfs ?? {}).some(({ address }) => address === error.details?.['address'])
}

function isPlaceless(error: unknown): boolean {
  return error instanceof KvasirError && error.code === 'not-enough-cpus'
}

function writeIntent(
  seat: Seat,
  { placement, start, before }: ReturnType<typeof takePlace> & { readonly before: VmRecord['life'] },
): void {
  const { saved, intent, restartsBegun = 0 } = seat.record
  const starting = {
    intent: 'start',
    ...(intent === 'restart' ? { restartsBegun: restartsBegun + 1 } : {}),
    placement,
    placementLost: undefined,
    ...(saved?.booted ? {} : { hardware: start.hardware }),
    lifeBeforeStart: before,
    life: seat.life('starting', saved ? 'its saved memory is being loaded' : 'it was asked to start'),
  } as const
  seat.update(starting, undefined, ofThisBoot)
}

/** The place of the VM, and the start there. At once, so that nobody takes the place before it is written down. */
function takePlace(seat: Seat, prepared: PreparedStart, { drivers }: StartWork) {
  const { place, spec, pages } = prepared
  const placement = place && placeStart({ ...seat.record, spec }, place.facts, drivers)
  if (place === undefined || placement === undefined) return { placement: undefined, start: prepared }
  const start: PreparedStart = {
    ...prepared,
    plan: place.planAt(placement),
    threads: threadPlan(
      { name: seat.record.name, spec: seat.record.spec, placement },
      place.facts.cpuSets,
      [],
    ),
    pages: pages && pagesAtPlace(pages, placement.plan),
  }
  return { placement, start }
}

async function launch(
  seat: Seat,
  prepared: PreparedStart,
  work: { readonly ports: Ports; readonly signal: AbortSignal; readonly undo: AsyncDisposableStack },
): Promise<Emulator> {
  const { ports, undo } = work
  const { record } = seat
  await ports.failpoint('vm.start.before-launch')
  const launched = ports.emulators.launch(
    {
      id: record.id,
      uuid: record.id,
      name: record.name,
      uid: record.uid,
      plan: prepared.plan,
      memo: encodeMemo({
        record: { ...record, spec: prepared.spec, hardware: prepared.hardware },
        accelerator: prepared.accelerator,
        acceleratorReason: prepared.acceleratorReason,
      }),
      vcpuCount: prepared.spec.cpu.count,
      memoryBytes: bootMemoryBytes(prepared.spec, prepared.hardware.plugMemory),
      pages: prepared.pages,
      memoryLimits: limitsOf(record),
      threads: prepared.threads,
    },
    work.signal,
  )
  const emulator = await launched.catch((error: unknown) => {
    throw namingVolume(error, ports)
  })
  undo.defer(async () => {
    seat.detach()
    await emulator.end({ graceMs: 0 })
    await ports.emulators.clean(record.id)
  })
  await ports.failpoint('vm.start.after-launch')
  return emulator
}

/** The memory is in the emulator now; what is on disk must not be loaded a second time. */
async function forgetSaved(seat: Seat, ports: Ports): Promise<void> {
  await ports.failpoint('vm.restore.after-load')
  seat.update({ saved: undefined })
  await ports.failpoint('vm.restore.after-forget')
}

function runOf(prepared: PreparedStart, emulator: Emulator): VmRun {
  return {
    emulator: emulator.record,
    accelerator: prepared.accelerator,
    acceleratorReason: prepared.acceleratorReason,
    bootedSpec: prepared.spec,
    bootedHardware: prepared.hardware,
  }
}
