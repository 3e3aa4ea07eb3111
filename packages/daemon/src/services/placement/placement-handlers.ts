/** The handlers of placements: looked at, planned, never changed. */
import type { Context } from '../context.ts'
import type { Handlers } from '../handlers.ts'
import { moversOf } from './make-room.ts'
import { planFor, showPlacement } from './place-vm.ts'

/** The handlers of `placeVm` and `placeSpec`. */
export function createPlacementHandlers(context: Context): Pick<Handlers, 'placeVm' | 'placeSpec'> {
  const { ports, drivers, placementMoves } = context
  const planning = { ports, drivers, movers: () => moversOf(drivers, placementMoves) }
  return {
    placeVm: ({ params, query }) =>
      showPlacement(drivers.find(params.name).view().record, { anew: query.anew }, planning),
    placeSpec: ({ params, body }) => {
      const known = drivers.list().find((driver) => driver.view().record.name === params.name)
      const record = known?.view().record
      const vm = { id: record?.id ?? '', name: params.name, placement: record?.placement, saved: undefined }
      return planFor({ ...vm, spec: body.spec, devices: body.devices }, planning)
    },
  }
}
