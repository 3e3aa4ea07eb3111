/** The bytes of the volumes of a simulated machine. */
import { KvasirError } from '@kvasir/contract'
import { pathSource, type VolumeSource } from '../model/storage/volume-source.ts'
import type { VolumeAccess } from '../ports/volume-access.ts'
import type { SimulatedMachine } from './machine.ts'

/** What the real tools do, to volumes in memory. */
export function createSimulatedAccess(machine: SimulatedMachine): VolumeAccess {
  const idOf = (source: VolumeSource): string => {
    const { path } = pathSource(source)
    const id = [...machine.volumes.keys()].find((one) => path.includes(one))
    if (id === undefined) throw new KvasirError('file-not-found', `There is no file ${path}.`)
    return id
  }
  return {
    async check(source, { repair, signal }) {
      await machine.clock.sleep(machine.stepMs, signal)
      const id = idOf(source)
      const volume = machine.volumes.get(id)
      const { leaks = 0, corruptions = 0 } = volume?.damage ?? {}
      if (!repair) return { leaks, corruptions, errors: 0, leaksFixed: 0, corruptionsFixed: 0 }
      if (volume) machine.volumes.set(id, { ...volume, damage: undefined })
      return { leaks: 0, corruptions: 0, errors: 0, leaksFixed: leaks, corruptionsFixed: corruptions }
    },
  }
}
