/** All that the services need from outside. Constructed once, in main.ts. */
import type { ClientFiles } from './client-files.ts'
import type { Clock } from './clock.ts'
import type { Emulators } from './emulators.ts'
import type { Failpoints } from './failpoints.ts'
import type { StateFiles } from './files.ts'
import type { HostFacts } from './host-facts.ts'
import type { ImageFiles, ImageMakers } from './images.ts'
import type { Log } from './log.ts'
import type { Networks } from './networks.ts'
import type { Pools } from './pools.ts'
import type { SecretFiles } from './secrets.ts'
import type { Store } from './store.ts'
import type { VolumeAccess } from './volume-access.ts'

export interface Ports {
  readonly store: Store
  readonly emulators: Emulators
  readonly files: StateFiles
  readonly pools: Pools
  readonly networks: Networks
  readonly access: VolumeAccess
  readonly clientFiles: ClientFiles
  readonly secrets: SecretFiles
  readonly images: ImageFiles
  readonly makers: ImageMakers
  readonly host: HostFacts
  readonly clock: Clock
  readonly failpoint: Failpoints
  readonly log: Log
  /** The identity of this boot of the host. */
  readonly bootId: string
}
