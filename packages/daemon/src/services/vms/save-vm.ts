/**
 * Saves a VM's memory to a file and stops it.
 *
 *     intent `save` ─▶ stop vCPUs ─▶ memory to a partial file ─▶ publish the file ─▶ row: saved ─▶ end the emulator ─▶ `saved`
 *
 * Until the row says `saved`, every failure leads back to the running VM. Memory fits only the hardware it was saved with: where the spec
 * already names another for the next boot, the row keeps what was booted beside it.
 */
import { KvasirError } from '@kvasir/contract'
import { waitingFields } from '../../model/vm/waiting-changes.ts'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { Emulator, SaveProgress } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import type { SavedMemory, VmRecord } from '../../ports/store.ts'
import { requireNo3d } from '../host/graphics.ts'
import { requireNoHostDevices } from '../host/host-devices.ts'
import { refusalFrom } from '../refusal-of.ts'
import { requireSettled } from '../snapshots/find-snapshot.ts'
import { endEmulator } from './end-emulator.ts'
import { requireNoShares } from './shares.ts'

export interface SaveRequest {
  readonly jobId?: string
  readonly signal: AbortSignal
  readonly onProgress: (step: string, fraction: number | undefined) => void
}

/** Saves a running or paused VM. On failure, a full disk too, the VM goes on as before. */
export async function saveVm(driver: Driver, ports: Ports, request: SaveRequest): Promise<void> {
  await driver.take(
    'save',
    async (seat) => {
      requireNoHostDevices(seat.record, 'saved')
      requireNoShares(seat.record, 'saved')
      requireNo3d(seat.record, 'saved')
      requireSettled(seat.record, ports) // A disk whose layers are merged cannot be let go of.
      const booted = whatWasBooted(seat.record)
      const wasRunning = seat.record.life.state === 'running'
      const before = seat.record.life
      await ports.failpoint('vm.save.before-intent')
      seat.update({
        intent: wasRunning ? 'save' : 'save-paused',
        life: seat.life('stopping', 'its memory is being saved'),
      })
      try {
        await ports.failpoint('vm.save.after-intent')
        await writeMemory(seat, ports, { ...request, booted })
        request.onProgress('ending the emulator', 1)
        await endEmulator(seat, ports, { state: 'saved', reason: 'its memory was saved' })
      } catch (error) {
        if (seat.emulator)
          await goOn(seat, seat.emulator, { ports, before }).catch((cause: unknown) =>
            ports.log.warn({ vm: seat.record.name, err: cause }, 'a VM does not go on after its save failed'),
          )
        throw namingVm(error, seat.record.name)
      }
      await ports.failpoint('vm.save.after-state')
    },
    request.jobId === undefined ? {} : { jobId: request.jobId },
  )
}

/** Who writes the memory does not know whose it is. */
function namingVm(error: unknown, name: string): unknown {
  const refusal = refusalFrom(error)
  if (refusal?.code !== 'not-enough-space') return error
  return new KvasirError(
    'not-enough-space',
    `The disk that saved memory goes to is full, so VM ${name} was not saved.`,
    { details: refusal.details, cause: error },
  )
}

/** What the memory fits, where the record says something else by now. The oldest rows do not know all of it. */
function whatWasBooted({ name, spec, run, hardware }: VmRecord): SavedMemory['booted'] {
  if (!run) return undefined
  const fields = waitingFields({ booted: run.bootedSpec, now: spec, plugMemory: hardware.plugMemory })
  // A disk that came or went left the root ports as they were booted, of which the record's hardware knows nothing.
  if (fields.length === 0 && run.bootedHardware?.ports === undefined) return undefined
  if (run.bootedHardware) return { spec: run.bootedSpec, hardware: run.bootedHardware }
  throw new KvasirError(
    'wrong-state',
    `VM ${name} waits for its next boot to change ${fields.join(', ')}, and was started by a version of Kvasir that did not note its hardware, so it is not saved; shut it down and start it first, or take the change back.`,
    { details: { fields } },
  )
}

/** The memory in the file is forgotten before the guest goes on: from then on the disks move away from it. */
async function goOn(
  seat: Seat,
  emulator: Emulator,
  { ports, before }: { readonly ports: Ports; readonly before: VmRecord['life'] },
): Promise<void> {
  try {
    if (seat.record.saved) seat.update({ saved: undefined })
    if (before.state === 'running') await emulator.resume()
    seat.update({
      intent: 'none',
      life: seat.life(before.state, 'saving its memory did not succeed, so it goes on'),
    })
  } finally {
    if (!seat.record.saved) await ports.files.removeSave(seat.record.id)
  }
}

async function writeMemory(
  seat: Seat,
  ports: Ports,
  request: SaveRequest & Pick<SavedMemory, 'booted'>,
): Promise<void> {
  const { record, emulator } = seat
  const onProgress = (progress: SaveProgress) =>
    request.onProgress(
      'saving memory',
      progress.totalBytes > 0 ? progress.transferredBytes / progress.totalBytes : undefined,
    )
  await emulator?.pause()
  await emulator?.saveTo(ports.files.partialSavePath(record.id), {
    onProgress,
    signal: AbortSignal.any([seat.signal, request.signal]),
  })
  await ports.failpoint('vm.save.after-memory')
  const { sizeBytes } = await ports.files.commitSave(record.id)
  await ports.failpoint('vm.save.after-file')
  seat.update({ saved: { sizeBytes, at: ports.clock.now(), booted: request.booted } })
  await ports.failpoint('vm.save.after-row')
}

/** Throws saved memory away; the VM is then shut off, as after a power cut. */
export async function discardSaved(driver: Driver, ports: Ports): Promise<void> {
  await driver.take('discard-saved', async (seat) => {
    await ports.failpoint('vm.discard.before-row')
    seat.update({ saved: undefined, life: seat.life('shutoff', 'its saved memory was thrown away') })
    try {
      await ports.failpoint('vm.discard.after-row')
    } finally {
      await ports.files.removeSave(seat.record.id)
    }
  })
}
