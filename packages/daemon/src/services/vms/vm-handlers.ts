/** The handlers of VMs: from a request to a use-case, and back to what the API shows. */
import { KvasirError } from '@kvasir/contract'
import type { Driver } from '../../ports/drivers.ts'
import type { Context } from '../context.ts'
import type { Handlers } from '../handlers.ts'
import { applyVm, planVm, renameVm } from './change-vm.ts'
import { createVm } from './create-vm.ts'
import { deleteVm } from './delete-vm.ts'
import { execInVm } from './exec-vm.ts'
import { discardSaved } from './save-vm.ts'
import { showVm } from './show-vm.ts'
import { powerOffVm } from './stop-vm.ts'
import { beginClone, beginReboot, beginSave, beginShutdown, beginStart } from './vm-jobs.ts'

type VmHandlerIds =
  | 'listVms'
  | 'getVm'
  | 'createVm'
  | 'applyVm'
  | 'planVm'
  | 'deleteVm'
  | 'renameVm'
  | 'startVm'
  | 'shutdownVm'
  | 'rebootVm'
  | 'saveVm'
  | 'cloneVm'
  | 'powerOffVm'
  | 'resetVm'
  | 'pauseVm'
  | 'resumeVm'
  | 'discardSavedVm'
  | 'execVm'
  | 'screenshotVm'
  | 'logVm'

/** The handlers of everything under `/v1/vms` but consoles. */
export function createVmHandlers(context: Context): Pick<Handlers, VmHandlerIds> {
  const { drivers, jobs, ports } = context
  const show = (driver: Driver) => showVm(driver, context)
  const find = (name: string) => drivers.find(name)
  const wait = (id: string, seconds: number | undefined, signal: AbortSignal) =>
    jobs.wait(id, (seconds ?? 0) * 1000, signal)

  return {
    listVms: async () =>
      drivers
        .list()
        .filter((driver) => driver.view().record.phase === 'ready')
        .map(show)
        .sort((a, b) => a.name.localeCompare(b.name)),
    getVm: async ({ params }) => show(find(params.name)),
    async createVm({ body, caller }) {
      const driver = await createVm(body, context)
      if (body.start) beginStart(driver, context, caller)
      return show(driver)
    },
    applyVm: async ({ params, body, ifMatch }) =>
      show(await applyVm({ name: params.name, spec: body.spec, ifMatch }, context)),
    planVm: ({ params, body }) => planVm({ name: params.name, spec: body.spec }, context),
    async deleteVm({ params, query, ifMatch }) {
      await deleteVm(find(params.name), context, { disks: query.disks, ifMatch })
      return undefined
    },
    async renameVm({ params, body, ifMatch }) {
      const driver = find(params.name)
      await renameVm(driver, { name: body.name, ifMatch }, context)
      return show(driver)
    },

    startVm: async ({ params, query, caller, signal }) =>
      await wait(beginStart(find(params.name), context, caller).id, query.wait, signal),
    shutdownVm: async ({ params, query, body, caller, signal }) =>
      await wait(beginShutdown(find(params.name), context, { ...body, caller }).id, query.wait, signal),
    rebootVm: async ({ params, query, caller, signal }) =>
      await wait(beginReboot(find(params.name), context, caller).id, query.wait, signal),
    saveVm: async ({ params, query, caller, signal }) =>
      await wait(beginSave(find(params.name), context, caller).id, query.wait, signal),
    cloneVm: async ({ params, query, body, caller, signal }) =>
      await wait(beginClone(find(params.name), context, { ...body, caller }).id, query.wait, signal),

    async powerOffVm({ params }) {
      const driver = find(params.name)
      await powerOffVm(driver, ports)
      return show(driver)
    },
    async resetVm({ params }) {
      const driver = find(params.name)
      await driver.take('reset', async (seat) => {
        await seat.emulator?.reset()
        if (seat.record.life.state !== 'paused') return
        await seat.emulator?.resume()
        seat.update({ life: seat.life('running', 'it was reset') })
      })
      return show(driver)
    },
    async pauseVm({ params }) {
      const driver = find(params.name)
      await driver.take('pause', async (seat) => {
        await seat.emulator?.pause()
        seat.update({ life: seat.life('paused', 'it was paused') })
      })
      return show(driver)
    },
    async resumeVm({ params }) {
      const driver = find(params.name)
      await driver.take('resume', async (seat) => {
        await seat.emulator?.resume()
        seat.update({ life: seat.life('running', 'it was resumed') })
      })
      return show(driver)
    },
    async discardSavedVm({ params }) {
      const driver = find(params.name)
      await discardSaved(driver, ports)
      return show(driver)
    },

    execVm: ({ params, body, signal }) => execInVm(find(params.name), body, signal),
    async screenshotVm({ params }) {
      const { emulator, record } = find(params.name).view()
      if (!emulator)
        throw new KvasirError(
          'wrong-state',
          `VM ${record.name} is ${record.life.state}, so it shows nothing.`,
        )
      return new Uint8Array(await emulator.screenshot())
    },
    async logVm({ params, query }) {
      const { record } = find(params.name).view()
      const log = await ports.emulators.readLog(record.id, query.source, Math.min(query.bytes, 16 * 2 ** 20))
      return Buffer.from(log).toString('utf8')
    },
  }
}
