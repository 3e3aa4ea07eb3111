/**
 * The NICs of one running QEMU over QMP: a tap as descriptors, the back end, the device; and back again.
 *
 * The tap is made by a process that holds it (open-taps.ts) until QEMU has each queue, sent beside `getfd`; from then on it ends with the
 * back end. Back ends cannot be listed (QEMU 7.2 to 10.2), so what an interrupted attempt left is taken away before the next one: without its
 * device, nobody uses it.
 */
import type { NicSpec } from '@kvasir/contract'
import { sendDescriptor } from '@kvasir/linux'
import { type QmpClient, QmpError } from '@kvasir/qmp'
import { vhostNetDevice } from '../../model/qemu/emulator-plan.ts'
import { deviceId } from '../../model/qemu/ids.ts'
import { type NicPlan, tapOptions } from '../../model/qemu/nic.ts'
import type { EmulatorNics } from '../../ports/emulator-nics.ts'
import type { Failpoints } from '../../ports/failpoints.ts'
import { openTapsWhenFree } from '../networks/open-taps.ts'
import { openForGuest } from './open-descriptors.ts'
import { withNic, withoutNic } from './record-of-nics.ts'
import type { StoredEmulator } from './runtime-directory.ts'

export interface QemuNicsParts {
  /** Works with the monitor of now, with the errors of the port. */
  readonly ask: <T>(work: (monitor: QmpClient) => Promise<T>) => Promise<T>
  /** Changes what is written down about the emulator. */
  readonly keep: (change: (record: StoredEmulator) => StoredEmulator) => Promise<void>
  readonly failpoint: Failpoints
}

export class QemuNics implements EmulatorNics {
  readonly #parts: QemuNicsParts

  constructor(parts: QemuNicsParts) {
    this.#parts = parts
  }

  async plug(plan: NicPlan): Promise<void> {
    const { ask, keep } = this.#parts
    if ((await this.present([plan.nic])).length > 0) return
    await keep((record) => withNic(record, plan))
    try {
      await ask((monitor) => this.#make(monitor, plan))
    } catch (error) {
      await ask((monitor) => takeBack(monitor, plan)).catch(() => {}) // The next attempt begins with it.
      await keep((record) => withoutNic(record, plan.nic))
      throw error
    }
  }

  async present(nics: readonly string[]): Promise<readonly string[]> {
    const devices = await this.#parts.ask(devicesOf)
    return nics.filter((nic) => devices.includes(deviceId('nic', nic)))
  }

  async askFor(nic: string): Promise<void> {
    await this.#parts.ask((monitor) =>
      monitor.execute('device_del', { id: deviceId('nic', nic) }).catch((error: unknown) => {
        const isAsked =
          error instanceof QmpError && error.message.includes('already in the process of unplug')
        if (!isMissing(error) && !isAsked) throw error
      }),
    )
  }

  async remove(nic: string): Promise<void> {
    const { ask, keep } = this.#parts
    await ask((monitor) => removeBackEnd(monitor, deviceId('net', nic)))
    await keep((record) => withoutNic(record, nic))
  }

  async setLinks(links: ReadonlyMap<string, NicSpec['link']>): Promise<void> {
    const there = await this.present([...links.keys()])
    for (const nic of there)
      await this.#parts.ask((monitor) =>
        monitor.execute('set_link', { name: deviceId('nic', nic), up: links.get(nic) === 'up' }),
      )
  }

  async #make(monitor: QmpClient, plan: NicPlan): Promise<void> {
    const { failpoint } = this.#parts
    await takeBack(monitor, plan)
    await passTap(monitor, plan)
    for (const fdname of vhostNames(plan)) await passVhost(monitor, fdname)
    await failpoint('emulator.plug-nic.after-tap')
    const [fds, vhostFds] = [endNames(plan), vhostNames(plan)]
    // What the model planned is what QEMU's introspection names; its types are those of one version of it.
    await monitor.executeUntyped('netdev_add', { ...tapOptions(plan.ids.netdev, { fds, vhostFds }) })
    await failpoint('emulator.plug-nic.after-netdev')
    await monitor.executeUntyped('device_add', { ...plan.device })
    await failpoint('emulator.plug-nic.after-device')
  }
}

/** What QEMU calls the queues of a tap until its back end takes them. */
function endNames({ ids, tap }: NicPlan): readonly string[] {
  return Array.from({ length: tap.queues }, (_, queue) => `${ids.netdev}.${queue}`)
}

/** The same of what serves them in the kernel, where that does. */
function vhostNames({ ids, tap }: NicPlan): readonly string[] {
  return tap.vhost ? Array.from({ length: tap.queues }, (_, queue) => `vhost-${ids.netdev}.${queue}`) : []
}

async function passVhost(monitor: QmpClient, fdname: string): Promise<void> {
  await using file = await openForGuest({ kind: 'device', path: vhostNetDevice })
  await monitor.executeBeside('getfd', {
    args: { fdname },
    send: (socket, text) => sendDescriptor(socket, { text, descriptor: file.fd }),
  })
}

async function passTap(monitor: QmpClient, plan: NicPlan): Promise<void> {
  const taps = await openTapsWhenFree([plan.tap], 'the NIC is not plugged')
  try {
    for (const [queue, fdname] of endNames(plan).entries()) {
      const fd = taps.queues.get(plan.tap.tap)?.[queue]
      if (fd === undefined) throw new TypeError(`Tap ${plan.tap.tap} has no queue ${queue}.`)
      await monitor.executeBeside('getfd', {
        args: { fdname },
        send: (socket, text) => sendDescriptor(socket, { text, descriptor: { pid: taps.pid, fd } }),
      })
    }
  } finally {
    taps.release()
  }
}

/** Takes away what there is of a NIC whose device is not. */
async function takeBack(monitor: QmpClient, plan: NicPlan): Promise<void> {
  await removeBackEnd(monitor, plan.ids.netdev)
  for (const fdname of [...endNames(plan), ...vhostNames(plan)])
    await monitor.execute('closefd', { fdname }).catch((error: unknown) => {
      if (!(error instanceof QmpError)) throw error // It has none of that name.
    })
}

async function removeBackEnd(monitor: QmpClient, id: string): Promise<void> {
  await monitor.execute('netdev_del', { id }).catch((error: unknown) => {
    if (!isMissing(error)) throw error
  })
}

async function devicesOf(monitor: QmpClient): Promise<readonly string[]> {
  const all = await monitor.execute('qom-list', { path: '/machine/peripheral' })
  return all.map(({ name }) => name)
}

function isMissing(error: unknown): boolean {
  return error instanceof QmpError && error.class === 'DeviceNotFound'
}
