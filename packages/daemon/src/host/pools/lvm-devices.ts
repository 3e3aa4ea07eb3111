/** Makes a volume group of block devices: each is looked at first, and one that is in use or holds something is refused. */
import { KvasirError } from '@kvasir/contract'
import { type CommandOptions, runCommand, runJsonCommand } from '@kvasir/linux'
import { judgeDevice, lsblkFields } from '../../model/storage/device-offer.ts'
import { madeTag } from '../../model/storage/lvm-place.ts'
import { refusalIn } from './lvm-errors.ts'
import type { LvmTools } from './lvm-tools.ts'

/** A device that hangs is given up soon: nothing was done to it. */
const looking: CommandOptions = { timeoutMs: 15_000, endsWithUs: true }
const wipeTimeoutMs = 60_000

/** Makes the volume group, and marks it as made by us. `pool-refused` names the device and what is on it. */
export async function makeGroup(
  tools: LvmTools,
  asked: { readonly vg: string; readonly devices: readonly string[]; readonly force: boolean },
): Promise<void> {
  const { vg, devices, force } = asked
  for (const device of devices) await requireOffered(device, { vg, force })
  // Neither opens what something else has open (O_EXCL), whatever was seen before.
  if (force)
    for (const device of devices)
      await runCommand(['wipefs', '--all', '--', device], { timeoutMs: wipeTimeoutMs }).catch(
        (error: unknown) => {
          throw refuse(device, `could not be cleared (${refusalIn(error) ?? 'wipefs failed'})`, error)
        },
      )
  await tools.change('vgcreate', '--addtag', madeTag, '--', vg, ...devices).catch((error: unknown) => {
    const said = refusalIn(error)
    if (said === undefined) throw error
    throw new KvasirError('pool-refused', `LVM did not make volume group ${vg}: ${said}`, { cause: error })
  })
}

async function requireOffered(
  device: string,
  { vg, force }: { readonly vg: string; readonly force: boolean },
): Promise<void> {
  const verdict = await look(device)
  if (verdict.kind === 'used') throw refuse(device, verdict.why)
  if (verdict.kind === 'holds' && !force)
    throw refuse(
      device,
      `holds ${verdict.what}, which volume group ${vg} would overwrite; ask for that with force`,
    )
}

async function look(device: string) {
  try {
    const lsblk = await runJsonCommand(['lsblk', '--json', '-o', lsblkFields, '--', device], looking)
    return judgeDevice(lsblk, await runJsonCommand(['wipefs', '--json', '--', device], looking))
  } catch (error) {
    throw refuse(
      device,
      `cannot be looked at (${refusalIn(error) ?? 'it is no device that is known'})`,
      error,
    )
  }
}

function refuse(device: string, why: string, cause?: unknown): KvasirError {
  return new KvasirError('pool-refused', `${device} ${why}, so no pool is made of it.`, {
    details: { device },
    cause,
  })
}
