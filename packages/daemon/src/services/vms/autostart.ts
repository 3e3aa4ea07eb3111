/**
 * Starts VMs one after another in the order that their specs say, each result in the log: those marked for it when the host has booted,
 * and those that were to be started again when the last daemon ended.
 *
 * Who is to be started says so in its row (intent `restart`) until it was tried, so that a daemon that dies in between forgets nobody.
 */
import { isOff } from '../../model/vm/is-off.ts'
import type { Driver } from '../../ports/drivers.ts'
import type { Context } from '../context.ts'
import { restartVm } from './start-vm.ts'

/** Notes in the rows of all VMs with autostart that do not run that they are to be started; answers them. */
export async function markForAutostart(context: Context): Promise<readonly Driver[]> {
  const wanted = context.drivers.list().filter((driver) => {
    const { record } = driver.view()
    return record.spec.autostart.enabled && record.phase === 'ready' && isOff(record)
  })
  for (const driver of wanted)
    await driver.take('edit', async (seat) => {
      if (isOff(seat.record)) seat.update({ intent: 'restart' })
    })
  return wanted
}

/** Starts VMs that are to be started. One that fails holds up nobody. */
export async function startInOrder(drivers: readonly Driver[], context: Context): Promise<void> {
  const { ports } = context
  for (const driver of drivers.toSorted(inOrder)) {
    const { record, busyWith } = driver.view()
    if (record.intent !== 'restart' || !isOff(record) || busyWith) continue
    try {
      await restartVm(driver, context)
      ports.log.info({ vm: record.name }, 'started by itself')
    } catch (error) {
      ports.log.error({ vm: record.name, err: error }, 'could not be started by itself')
    }
    await ports.clock.sleep(record.spec.autostart.delaySeconds * 1000)
  }
}

function inOrder(a: Driver, b: Driver): number {
  const [first, second] = [a.view().record, b.view().record]
  return first.spec.autostart.order - second.spec.autostart.order || first.name.localeCompare(second.name)
}
