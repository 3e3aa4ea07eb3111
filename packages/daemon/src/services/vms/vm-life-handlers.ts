/** The handlers of a VM's life: long actions begin a job, short ones answer the VM. */
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { Context } from '../context.ts'
import type { Handlers } from '../handlers.ts'
import { discardSaved } from './save-vm.ts'
import { showVm } from './show-vm.ts'
import { powerOffVm } from './stop-vm.ts'
import { beginClone, beginMemory, beginReboot, beginSave, beginShutdown, beginStart } from './vm-jobs.ts'

type JobIds = 'startVm' | 'shutdownVm' | 'rebootVm' | 'saveVm' | 'resizeVmMemory' | 'cloneVm'
type ShortIds = 'powerOffVm' | 'resetVm' | 'pauseVm' | 'resumeVm' | 'discardSavedVm'

/** The handlers of the long actions. */
export function createVmJobHandlers(context: Context): Pick<Handlers, JobIds> {
  const { drivers, jobs } = context
  const find = (name: string) => drivers.find(name)
  const wait = (id: string, seconds: number | undefined, signal: AbortSignal) =>
    jobs.wait(id, (seconds ?? 0) * 1000, signal)
  return {
    startVm: async ({ params, query, caller, signal }) =>
      await wait(beginStart(find(params.name), context, caller).id, query.wait, signal),
    shutdownVm: async ({ params, query, body, caller, signal }) =>
      await wait(beginShutdown(find(params.name), context, { ...body, caller }).id, query.wait, signal),
    rebootVm: async ({ params, query, caller, signal }) =>
      await wait(beginReboot(find(params.name), context, caller).id, query.wait, signal),
    saveVm: async ({ params, query, caller, signal }) =>
      await wait(beginSave(find(params.name), context, caller).id, query.wait, signal),
    resizeVmMemory: async ({ params, query, body, caller, signal }) => {
      const job = await beginMemory(find(params.name), context, { ...body, caller })
      return await wait(job.id, query.wait, signal)
    },
    cloneVm: async ({ params, query, body, caller, keep, signal }) =>
      await wait(beginClone(find(params.name), context, { ...body, caller, keep }).id, query.wait, signal),
  }
}

/** The handlers of the short actions. */
export function createVmPowerHandlers(context: Context): Pick<Handlers, ShortIds> {
  const { drivers, ports } = context
  const act = async (name: string, action: (driver: Driver) => Promise<void>) => {
    const driver = drivers.find(name)
    await action(driver)
    return showVm(driver, context)
  }
  return {
    powerOffVm: ({ params }) => act(params.name, (driver) => powerOffVm(driver, ports)),
    resetVm: ({ params }) => act(params.name, (driver) => driver.take('reset', resetGuest)),
    pauseVm: ({ params }) => act(params.name, (driver) => driver.take('pause', pauseGuest)),
    resumeVm: ({ params }) => act(params.name, (driver) => driver.take('resume', resumeGuest)),
    discardSavedVm: ({ params }) => act(params.name, (driver) => discardSaved(driver, ports)),
  }
}

/**
 * Resets the guest. One that stood because of a panic, a watchdog or an error runs again; who lets a guest go on does not want it to
 * shut down any more.
 */
async function resetGuest(seat: Seat): Promise<void> {
  await seat.emulator?.reset()
  if (seat.record.life.state !== 'paused') return
  await seat.emulator?.resume()
  seat.update({ intent: 'none', life: seat.life('running', 'it was reset') })
}

async function pauseGuest(seat: Seat): Promise<void> {
  await seat.emulator?.pause()
  seat.update({ life: seat.life('paused', 'it was paused') })
}

async function resumeGuest(seat: Seat): Promise<void> {
  await seat.emulator?.resume()
  seat.update({ intent: 'none', life: seat.life('running', 'it was resumed') })
}
