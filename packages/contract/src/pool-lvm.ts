/** Pools of LVM as they are asked for: the volumes of a volume group, or of a thin pool in one. */
import { z } from 'zod'
import { hostPath, resourceName } from './names.ts'
import { layersIn } from './pool.ts'
import { byteSize } from './units.ts'

/** A name that LVM takes (lvm(8), "Valid names"). */
const lvmName = z
  .string()
  .max(100)
  .regex(/^(?!\.{1,2}$)[A-Za-z0-9_+.][A-Za-z0-9_+.-]*$/, 'is not a name of LVM')

const common = {
  name: resourceName,
  vg: lvmName.meta({ description: 'The volume group.' }),
  devices: z.array(hostPath).max(64).default([]).meta({
    description: 'Empty block devices that the volume group is made of when there is none of this name.',
  }),
  autostart: z.boolean().default(true),
  force: z.boolean().default(false).meta({
    description:
      'Take what is marked as the pool of another daemon, and devices that hold something, which is lost. Never what is in use.',
  }),
}

/** A volume group, each volume of which is a logical one. */
export const newLvmPool = z.strictObject({ type: z.literal('lvm'), ...common, layersIn })

/** A thin pool, whose volumes take space as they are written, with snapshots and clones of its own. */
export const newLvmThinPool = z.strictObject({
  type: z.literal('lvm-thin'),
  ...common,
  thinPool: lvmName.meta({ description: 'The thin pool in the volume group.' }),
  size: byteSize.optional().meta({ description: 'What it is made with when there is none of this name.' }),
})
