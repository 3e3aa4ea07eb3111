/** The port of emulators over a simulated machine. */
import { KvasirError } from '@kvasir/contract'
import type { Adoption, Emulators, LaunchRequest } from '../ports/emulators.ts'
import type { Failpoints } from '../ports/failpoints.ts'
import { EmulatorProcess } from './emulator-process.ts'
import type { SimulatedMachine } from './machine.ts'
import { SimulatedEmulator } from './simulated-emulator.ts'
import { requirePolicy } from './simulated-threads.ts'

const quiet: Failpoints = async () => {}

/** The emulators of a machine, as one daemon sees them. */
export function createSimulatedEmulators(
  machine: SimulatedMachine,
  failpoint: Failpoints = quiet,
): Emulators {
  return {
    announceLaunch() {},
    launch: (request, signal) => launch(request, { machine, failpoint, signal }),
    async adopt(id, { timeoutMs }): Promise<Adoption> {
      const process = machine.processes.get(id)
      if (!process?.isAlive) return { kind: 'gone', log: logOf(machine, id) }
      try {
        const outOfTime = machine.clock.sleep(timeoutMs).then(() => {
          throw new KvasirError('emulator-unresponsive', 'The emulator does not answer its monitor.')
        })
        await Promise.race([process.answer(), outOfTime])
      } catch {
        if (!process.isAlive) return { kind: 'gone', log: logOf(machine, id) }
        return { kind: 'unresponsive', pid: process.pid, reason: 'its monitor does not answer' }
      }
      return { kind: 'alive', emulator: new SimulatedEmulator(process, machine) }
    },
    present: async () => [...machine.processes.keys()],
    memo: async (id) => machine.processes.get(id)?.request.memo,
    async clean(id) {
      machine.processes.get(id)?.dies({ code: undefined, signal: 'SIGKILL' })
      machine.processes.delete(id)
      await failpoint('emulator.end.after-directory')
    },
    async readLog(id, source, bytes) {
      const log = machine.logs.get(id)?.[source] ?? new Uint8Array()
      return log.subarray(Math.max(0, log.length - bytes))
    },
    async removeLogs(id) {
      machine.logs.delete(id)
    },
    reservations: async () => [],
    cageLimits: [],
    get controllers() {
      return machine.controllers
    },
    inspectCage: async () => [],
  }
}

async function launch(
  request: LaunchRequest,
  work: { readonly machine: SimulatedMachine; readonly failpoint: Failpoints; readonly signal: AbortSignal },
): Promise<SimulatedEmulator> {
  const { machine, failpoint, signal } = work
  signal.throwIfAborted()
  if (machine.processes.get(request.id)?.isAlive)
    throw new KvasirError(
      'emulator-failed',
      `An emulator of VM ${request.name} is still running, so it is not started a second time.`,
    )
  const how = machine.nextLaunch
  machine.nextLaunch = undefined
  if (how?.kind === 'fails') throw how.error
  await machine.clock.sleep(how?.kind === 'hangs' ? machine.commandTimeoutMs : machine.stepMs, signal)
  signal.throwIfAborted()
  if (how?.kind === 'hangs')
    throw new KvasirError('emulator-unresponsive', 'The emulator does not answer its monitor.')

  if (request.threads) requirePolicy(request.threads, machine)
  const process = new EmulatorProcess(machine, request)
  machine.processes.set(request.id, process)
  await failpoint('emulator.launch.after-spawn')
  return new SimulatedEmulator(process, machine)
}

function logOf(machine: SimulatedMachine, id: string): string {
  return Buffer.from(machine.logs.get(id)?.emulator ?? []).toString()
}
