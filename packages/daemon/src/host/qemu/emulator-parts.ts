/** What one running QEMU is made from. */
import type { QmpClient } from '@kvasir/qmp'
import type { VcpuThread } from '../../ports/emulator-vcpus.ts'
import type { Failpoints } from '../../ports/failpoints.ts'
import type { Cages } from '../cage/cage.ts'
import type { CageGroups } from '../cage/cage-groups.ts'
import type { DeviceDesk } from '../devices/device-desk.ts'
import type { SecretValues } from '../files/secret-files.ts'
import type { NicServers } from './network-helper.ts'
import type { PageWalks } from './page-walks.ts'
import type { EmulatorPaths, StoredEmulator } from './runtime-directory.ts'

export interface EmulatorParts {
  readonly id: string
  readonly paths: EmulatorPaths
  readonly groups: CageGroups
  readonly cages: Pick<Cages, 'launch'>
  readonly walks: PageWalks
  readonly secrets: SecretValues
  readonly devices: DeviceDesk
  readonly helpers: NicServers
  readonly failpoint: Failpoints
  readonly record: StoredEmulator
  readonly monitor: QmpClient
  readonly vcpus: readonly VcpuThread[]
  /** The character devices whose other end the guest has open. */
  readonly open: readonly string[]
  /** It may have been given servers already. */
  readonly mayReach: boolean
  /** How the process ended; absent for an adopted one. */
  readonly exited:
    | Promise<{ readonly code: number | undefined; readonly signal: string | undefined }>
    | undefined
}
