/** What is found when a volume is looked through for damage. */
import { z } from 'zod'

const count = z.int().nonnegative()

/** What a check or a repair found, in numbers. */
export const volumeCheck = z
  .strictObject({
    corruptions: count.meta({
      description: 'Damage that reading or writing the volume would meet; left after a repair.',
    }),
    leaks: count.meta({
      description: 'Clusters that are taken and belong to nothing: space is lost, no data.',
    }),
    errors: count.meta({ description: 'Places that could not be looked at.' }),
    corruptionsFixed: count,
    leaksFixed: count,
    clusters: count.optional(),
    allocatedClusters: count.optional(),
    compressedClusters: count.optional(),
  })
  .meta({ id: 'VolumeCheck' })

export type VolumeCheck = z.output<typeof volumeCheck>
