/** The handlers of VMs as things: listed, created, changed, deleted, looked into. Their life is in vm-life-handlers.ts. */
import { KvasirError } from '@kvasir/contract'
import type { Driver } from '../../ports/drivers.ts'
import type { Context } from '../context.ts'
import type { Handlers } from '../handlers.ts'
import { applyVm, planVm, renameVm } from './change-vm.ts'
import { createVm } from './create-vm.ts'
import { deleteVm } from './delete-vm.ts'
import { execInVm } from './exec-vm.ts'
import { setMedium } from './set-medium.ts'
import { showVm } from './show-vm.ts'
import { beginFirstStart } from './vm-jobs.ts'

/** The most of a log that one answer carries. */
const maxLogBytes = 16 * 2 ** 20

type VmHandlerIds =
  | 'listVms'
  | 'getVm'
  | 'createVm'
  | 'applyVm'
  | 'planVm'
  | 'deleteVm'
  | 'renameVm'
  | 'setMedium'
  | 'execVm'
  | 'screenshotVm'
  | 'logVm'

/** The handlers of VMs as things. */
export function createVmHandlers(context: Context): Pick<Handlers, VmHandlerIds> {
  const { drivers, ports } = context
  const show = (driver: Driver) => showVm(driver, context)
  const find = (name: string) => drivers.find(name)

  return {
    listVms: async () =>
      drivers
        .list()
        .map(show)
        .sort((a, b) => a.name.localeCompare(b.name)),
    getVm: async ({ params }) => show(find(params.name)),
    async createVm({ body, caller, keep }) {
      const driver = await createVm({ ...body, starts: body.start, keep }, context)
      if (body.start) await beginFirstStart(driver, context, caller)
      return show(driver)
    },
    async applyVm({ params, body, ifMatch, keep, caller }) {
      const wanted = { name: params.name, spec: body.spec, ifMatch, keep, owner: caller.name }
      return show(await applyVm(wanted, context))
    },
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
    async setMedium({ params, body, caller }) {
      const driver = find(params.name)
      await setMedium(driver, { drive: params.drive, ...body, owner: caller.name }, context)
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
      return new Uint8Array(await emulator.screen.screenshot())
    },
    async logVm({ params, query }) {
      const { record } = find(params.name).view()
      const log = await ports.emulators.readLog(record.id, query.source, Math.min(query.bytes, maxLogBytes))
      return Buffer.from(log).toString('utf8')
    },
  }
}
