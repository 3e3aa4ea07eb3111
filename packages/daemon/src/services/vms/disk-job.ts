/** The job that brings a VM's disks to what its spec says: begun by an edit, and by a daemon that finds one unfinished. */
import type { Driver } from '../../ports/drivers.ts'
import type { Context } from '../context.ts'
import { disksDeadlineMs, finishWhenGone, setDisks } from './set-disks.ts'

/** Sees to it that the job runs for a VM whose row names disks that come or go; one that runs already takes the new names up. */
export function ensureSetDisks(driver: Driver, context: Context, owner: string): void {
  if (!context.jobs.isUnderWay(['vm.set-disks'], driver.id)) beginSetDisks(driver, context, owner)
}

function beginSetDisks(driver: Driver, context: Context, owner: string): void {
  const { record } = driver.view()
  context.jobs.run(
    {
      kind: 'vm.set-disks',
      subject: { kind: 'vm', name: record.name, id: record.id },
      owner,
      deadlineMs: disksDeadlineMs(record.run?.movingDisks?.length ?? 1),
    },
    async (handle) => {
      const words = await setDisks(driver, context.ports, {
        signal: handle.signal,
        onStep: (step) => handle.progress(step),
      })
      handle.outcome(words)
      return driver.view().record.name
    },
  )
}

/** Goes on with what a former daemon had begun on a VM, and with what its guest did while nobody watched. */
export async function resumeSetDisks(id: string, context: Context): Promise<void> {
  const driver = context.drivers.get(id)
  const { record, emulator } = driver?.view() ?? {}
  if (!driver || !emulator || !record?.run) return
  if (record.run.movingDisks !== undefined) {
    ensureSetDisks(driver, context, 'recovery')
    return
  }
  const names = record.run.bootedSpec.disks.map((disk) => disk.name)
  const present = await emulator.disks.present(names)
  for (const name of names.filter((one) => !present.includes(one)))
    await driver.take('edit', (seat) => finishWhenGone(seat, name, context.ports))
}
