/** All use-cases over the ports and drivers: what both front doors bind to. */
import { createCheckpointHandlers } from './checkpoints/checkpoint-handlers.ts'
import type { ConsoleDesk } from './consoles/console-desk.ts'
import { createConsoleHandlers, createVmConsoles } from './consoles/console-handlers.ts'
import type { Context } from './context.ts'
import type { EventFeed, Handlers } from './handlers.ts'
import { createHostHandlers, type DaemonIdentity } from './host/host-handlers.ts'
import { createImageHandlers } from './images/image-handlers.ts'
import { createInstantHandlers } from './instants/instant-handlers.ts'
import { createMoveHandlers } from './moves/move-handlers.ts'
import { createNetworkHandlers } from './networks/network-handlers.ts'
import { createPlacementHandlers } from './placement/placement-handlers.ts'
import { yieldCpus } from './placement/yield-cpus.ts'
import { createPoolHandlers } from './pools/pool-handlers.ts'
import { createSecretHandlers } from './secrets/secret-handlers.ts'
import { createSnapshotHandlers } from './snapshots/snapshot-handlers.ts'
import { createVmHandlers } from './vms/vm-handlers.ts'
import { createVmJobHandlers, createVmPowerHandlers } from './vms/vm-life-handlers.ts'
import { createTransferHandlers } from './volumes/transfer-handlers.ts'
import { createVolumeHandlers } from './volumes/volume-handlers.ts'

export interface Services {
  readonly handlers: Handlers
  readonly consoles: ConsoleDesk
}

/** Makes the handlers of every endpoint. */
export function createServices(
  context: Context,
  parts: { readonly daemon: DaemonIdentity; readonly feed: EventFeed },
): Services {
  const consoles = createVmConsoles(context)
  parts.feed.subscribe((event) => {
    if (event.kind !== 'vm.state') return
    const { uuid, state, reason } = event.data
    const isOver = state === 'shutoff' || state === 'crashed' || state === 'saved'
    if (!isOver || typeof uuid !== 'string') return
    consoles.vmEnded(uuid, String(reason))
    const { placement } = context.drivers.get(uuid)?.view().record ?? {}
    // An event is told before the record is what it says.
    if (placement?.plan.placement === 'dedicated') setImmediate(() => void yieldCpus(context))
  })
  return {
    consoles,
    handlers: {
      ...createHostHandlers(context, parts),
      ...createVmHandlers(context),
      ...createPlacementHandlers(context),
      ...createVmJobHandlers(context),
      ...createVmPowerHandlers(context),
      ...createConsoleHandlers(context, consoles),
      ...createImageHandlers(context),
      ...createPoolHandlers(context),
      ...createVolumeHandlers(context),
      ...createTransferHandlers(context),
      ...createSecretHandlers(context),
      ...createNetworkHandlers(context),
      ...createSnapshotHandlers(context),
      ...createMoveHandlers(context),
      ...createCheckpointHandlers(context),
      ...createInstantHandlers(context, consoles),
    },
  }
}
