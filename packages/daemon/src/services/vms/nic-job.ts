/** The job that brings a VM's NICs to what its spec says: begun by an edit, and by a daemon that finds one unfinished. */
import type { Driver } from '../../ports/drivers.ts'
import type { Context } from '../context.ts'
import { nicsDeadlineMs, setNics } from './set-nics.ts'
import { finishGoneNic } from './take-nic-away.ts'

/** Sees to it that the job runs for a VM whose row names NICs that come or go; one that runs already takes the new names up. */
export function ensureSetNics(driver: Driver, context: Context, owner: string): void {
  if (!context.jobs.isUnderWay(['vm.set-nics'], driver.id)) beginSetNics(driver, context, owner)
}

function beginSetNics(driver: Driver, context: Context, owner: string): void {
  const { record } = driver.view()
  context.jobs.run(
    {
      kind: 'vm.set-nics',
      subject: { kind: 'vm', name: record.name, id: record.id },
      owner,
      deadlineMs: nicsDeadlineMs(record.run?.movingNics?.length ?? 1),
    },
    async (handle) => {
      const words = await setNics(driver, context, {
        signal: handle.signal,
        onStep: (step) => handle.progress(step),
      })
      handle.outcome(words)
      return driver.view().record.name
    },
  )
}

/** Goes on with what a former daemon had begun on a VM, and with what its guest did while nobody watched. */
export async function resumeSetNics(id: string, context: Context): Promise<void> {
  const driver = context.drivers.get(id)
  const { record, emulator } = driver?.view() ?? {}
  if (!driver || !emulator || !record?.run) return
  if (record.run.movingNics !== undefined) {
    ensureSetNics(driver, context, 'recovery')
    return
  }
  const names = record.run.bootedSpec.nics.map(({ name }) => name)
  const present = await emulator.nics.present(names)
  for (const name of names.filter((one) => !present.includes(one)))
    await driver.take('edit', (seat) => finishGoneNic(seat, name, context.ports))
}
