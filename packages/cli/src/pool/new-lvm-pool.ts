/** The flags of pools of LVM. */
import { resolve } from 'node:path'
import type { NewPoolInput } from '@kvasir/contract'
import { parseBytes } from '@kvasir/contract/size'
import type { Context } from '../context.ts'
import { UsageError } from '../usage-error.ts'

/** A volume group. */
export function lvmPool(context: Context): NewPoolInput {
  return { type: 'lvm', ...group(context) }
}

/** A thin pool in one. */
export function lvmThinPool(context: Context): NewPoolInput {
  const thinPool = context.value('thin-pool')
  if (thinPool === undefined)
    throw new UsageError('--thin-pool is missing.', 'Write --thin-pool pool0, for example.')
  const text = context.value('size')
  const size = text === undefined ? undefined : parseBytes(text)
  if (text !== undefined && size === undefined)
    throw new UsageError(
      `--size is not a size: ${JSON.stringify(text)}.`,
      'Write --size 100GiB, for example.',
    )
  return { type: 'lvm-thin', ...group(context), thinPool, ...(size === undefined ? {} : { size }) }
}

function group(context: Context) {
  const vg = context.value('vg')
  if (vg === undefined) throw new UsageError('--vg is missing.', 'Write --vg vg0, for example.')
  const devices = context.values('device').map((device) => resolve(device))
  return { name: context.argument('POOL'), vg, ...(devices.length > 0 ? { devices } : {}) }
}
