/** All ports of one daemon on a simulated machine, around a store that is real. */
import type { Failpoints } from '../ports/failpoints.ts'
import type { Log } from '../ports/log.ts'
import type { Ports } from '../ports/ports.ts'
import type { Store } from '../ports/store.ts'
import type { SimulatedMachine } from './machine.ts'
import { createSimulatedAccess } from './simulated-access.ts'
import { createSimulatedClientFiles } from './simulated-client-files.ts'
import { simulatedBootId } from './simulated-emulator.ts'
import { createSimulatedEmulators } from './simulated-emulators.ts'
import { createSimulatedFiles } from './simulated-files.ts'
import { createSimulatedHostFacts } from './simulated-host-facts.ts'
import { createSimulatedImageFiles, createSimulatedImageMakers } from './simulated-images.ts'
import { createSimulatedNetworks } from './simulated-networks.ts'
import { createSimulatedPools } from './simulated-pools.ts'
import { createSimulatedSecrets } from './simulated-secrets.ts'

/** What the simulation does not stand in for. */
export interface SimulatedPortsOptions {
  readonly store: Store
  readonly log?: Log
  readonly failpoint?: Failpoints
}

/** The ports of one daemon. Called again over the same machine, those of the daemon that follows it. */
export function createSimulatedPorts(machine: SimulatedMachine, options: SimulatedPortsOptions): Ports {
  const failpoint: Failpoints = options.failpoint ?? (async () => {})
  return {
    store: options.store,
    emulators: createSimulatedEmulators(machine, failpoint),
    files: createSimulatedFiles(machine),
    pools: createSimulatedPools(machine),
    networks: createSimulatedNetworks(machine),
    access: createSimulatedAccess(machine),
    clientFiles: createSimulatedClientFiles(machine),
    secrets: createSimulatedSecrets(machine),
    images: createSimulatedImageFiles(machine),
    makers: createSimulatedImageMakers(machine),
    host: createSimulatedHostFacts(machine),
    clock: machine.clock,
    failpoint,
    log: options.log ?? silentLog,
    bootId: simulatedBootId,
  }
}

const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} }
