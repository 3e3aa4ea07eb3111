/** The job that brings the devices of one kind to what a VM's spec says: begun by an edit, and by a daemon that finds one unfinished. */
import type { Driver } from '../../ports/drivers.ts'
import type { Context } from '../context.ts'
import type { MovingKind } from './moving-kind.ts'
import { movingDeadlineMs, setMoving } from './set-moving.ts'
import { finishGone } from './take-away.ts'

/** Sees to it that the job runs for a VM whose row names devices that come or go; one that runs already takes the new names up. */
export function ensureMoving(
  kind: MovingKind,
  driver: Driver,
  { context, owner }: { readonly context: Context; readonly owner: string },
): void {
  if (context.jobs.isUnderWay([kind.job], driver.id)) return
  const { record } = driver.view()
  context.jobs.run(
    {
      kind: kind.job,
      subject: { kind: 'vm', name: record.name, id: record.id },
      owner,
      deadlineMs: movingDeadlineMs(kind, record.run?.[kind.field]?.length ?? 1),
    },
    async (handle) => {
      const work = { signal: handle.signal, onStep: (step: string) => handle.progress(step) }
      handle.outcome(await setMoving(kind, driver, { context, work }))
      return driver.view().record.name
    },
  )
}

/** Goes on with what a former daemon had begun on a VM, and with what its guest did while nobody watched. */
export async function resumeMoving(kind: MovingKind, id: string, context: Context): Promise<void> {
  const driver = context.drivers.get(id)
  const { record, emulator } = driver?.view() ?? {}
  if (!driver || !emulator || !record?.run) return
  if (record.run[kind.field] !== undefined) {
    ensureMoving(kind, driver, { context, owner: 'recovery' })
    return
  }
  const names = kind.names(record.run.bootedSpec)
  const present = await kind.part(emulator).present(names)
  const { host } = context.ports
  for (const name of names.filter((one) => !present.includes(one) && kind.mayLack?.(one, host) !== true))
    await driver.take('edit', (seat) => finishGone(seat, name, { kind, ports: context.ports }))
}
