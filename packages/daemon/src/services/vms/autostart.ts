/** Starts the VMs that are marked for it, in their order, one after another, each result in the log. */
import type { Context } from '../context.ts'
import { startVm } from './start-vm.ts'

/** Starts all VMs with autostart that do not run. One that fails holds up nobody. */
export async function autostart(context: Context): Promise<void> {
  const { drivers, ports } = context
  const wanted = drivers
    .list()
    .filter((driver) => {
      const { record } = driver.view()
      return record.spec.autostart.enabled && ['shutoff', 'crashed', 'saved'].includes(record.life.state)
    })
    .sort((a, b) => {
      const [first, second] = [a.view().record, b.view().record]
      return first.spec.autostart.order - second.spec.autostart.order || first.name.localeCompare(second.name)
    })
  for (const driver of wanted) {
    const { record } = driver.view()
    try {
      await startVm(driver, ports, { signal: new AbortController().signal, onStep: () => {} })
      ports.log.info({ vm: record.name }, 'started with the host')
    } catch (error) {
      ports.log.error({ vm: record.name, err: error }, 'could not be started with the host')
    }
    await ports.clock.sleep(record.spec.autostart.delaySeconds * 1000)
  }
}
