/** All kinds of devices that come and go by set-moving.ts. Disks, which are older, have a way of their own (set-disks.ts). */
import type { MovingKind } from './moving-kind.ts'
import { channelKind } from './set-channels.ts'
import { deviceKind } from './set-devices.ts'
import { hostDeviceKind } from './set-host-devices.ts'
import { nicKind } from './set-nics.ts'
import { shareKind } from './set-shares.ts'

export const movingKinds: readonly MovingKind[] = [
  nicKind,
  hostDeviceKind,
  channelKind,
  shareKind,
  deviceKind,
]
