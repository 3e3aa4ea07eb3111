/**
 * The disks of an instant by NBD, at any place and as often as one likes. The emulator has let go of the copies then, and another process
 * serves them (ports/volume-access.ts): whatever its clients do, the guest does not hear of it. Of an increment only what changed is there,
 * and a bitmap says what that is; the rest reads as zeros.
 */
import { KvasirError } from '@kvasir/contract'
import { changedBitmap } from '../../model/storage/checkpoint-state.ts'
import type { Driver } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import { sourceOf } from '../volumes/volume-files.ts'
import type { LiveInstant } from './live-instant.ts'

/** Has an instant served, unless it is. */
export async function serveInstant(
  instant: LiveInstant,
  { driver, ports }: { readonly driver: Driver; readonly ports: Ports },
): Promise<void> {
  await instant.serve(async () => {
    const { emulator, record } = driver.view()
    if (!emulator) throw new KvasirError('wrong-state', `VM ${record.name} ended, and the instant with it.`)
    for (const { disk, scratch } of instant.disks)
      await emulator.blocks.instants.end({ disk, id: scratch.id })
    const volumes = instant.disks.map(({ disk, scratch, kind }) => ({
      name: disk,
      chain: [sourceOf(scratch, ports)],
      ...(kind === 'increment' ? { bitmap: changedBitmap } : {}),
    }))
    return await ports.access.serve(volumes, { signal: instant.ending })
  })
}
