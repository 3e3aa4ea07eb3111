/**
 * The NICs of one running QEMU over QMP: a tap or a socket as descriptors, the back end, the device; and back again.
 *
 * The tap is made by a process that holds it (open-taps.ts) until QEMU has each queue, sent beside `getfd`; from then on it ends with the
 * back end. Back ends cannot be listed (QEMU 7.2 to 10.2), so what an interrupted attempt left is taken away before the next one: without its
 * device, nobody uses it. In user mode the socket's other end is that of the process that serves the NIC, which ends with the back end.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { KvasirError, type NicSpec } from '@kvasir/contract'
import { connectPair, sendDescriptor } from '@kvasir/linux'
import { type QmpClient, QmpError } from '@kvasir/qmp'
import { type TapPlan, type UserNicPlan, vhostNetDevice } from '../../model/qemu/emulator-plan.ts'
import { deviceId } from '../../model/qemu/ids.ts'
import { type NicPlan, socketOptions, tapOptions } from '../../model/qemu/nic.ts'
import type { EmulatorNics, TappedNic } from '../../ports/emulator-nics.ts'
import type { Failpoints } from '../../ports/failpoints.ts'
import { hasDeadQueues } from '../networks/dead-queues.ts'
import { linkNames } from '../networks/link-names.ts'
import { openTapsWhenFree } from '../networks/open-taps.ts'
import type { NicServers } from './network-helper.ts'
import { openForGuest } from './open-descriptors.ts'
import { withNic, withoutNic } from './record-of-nics.ts'
import type { EmulatorPaths, StoredEmulator } from './runtime-directory.ts'

/** How long a process that serves a NIC may take to be there, and one that served another before to free its ports. */
const helperMs = 15_000
const portsMs = 3_000
const portsPollMs = 200

export interface QemuNicsParts {
  /** Works with the monitor of now, with the errors of the port. */
  readonly ask: <T>(work: (monitor: QmpClient) => Promise<T>) => Promise<T>
  /** Changes what is written down about the emulator. */
  readonly keep: (change: (record: StoredEmulator) => StoredEmulator) => Promise<void>
  readonly record: () => StoredEmulator
  readonly paths: EmulatorPaths
  readonly helpers: NicServers
  readonly failpoint: Failpoints
}

export class QemuNics implements EmulatorNics {
  readonly #parts: QemuNicsParts

  constructor(parts: QemuNicsParts) {
    this.#parts = parts
  }

  async plug(plan: NicPlan): Promise<void> {
    const { ask, keep, helpers } = this.#parts
    if ((await this.present([plan.nic])).length > 0) return
    const user = plan.backEnd.kind === 'user' ? await helpers.server() : undefined
    await keep((record) => withNic(record, { ...plan, ids: user ? { ...plan.ids, user } : plan.ids }))
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

  async withoutTap(nics: readonly TappedNic[]): Promise<readonly string[]> {
    const links = await linkNames()
    const missing = nics.filter(({ tap }) => !links.includes(tap))
    // A tap that has another name now still serves its guest; of a macvtap the kernel says nothing.
    const isTapGone =
      missing.some(({ isMacvtap }) => !isMacvtap) && (await hasDeadQueues(this.#parts.record().pid))
    return missing.flatMap(({ nic, isMacvtap }) => (isMacvtap || isTapGone ? [nic] : []))
  }

  /** QEMU takes the cable out by itself, and keeps what it knows of the back end until the device goes (net/net.c, qemu_del_net_client). */
  async cutOff(nic: string): Promise<void> {
    await this.#parts.ask((monitor) => removeBackEnd(monitor, deviceId('net', nic)))
  }

  async setLinks(links: ReadonlyMap<string, NicSpec['link']>): Promise<void> {
    const there = await this.present([...links.keys()])
    for (const nic of there)
      await this.#parts.ask((monitor) =>
        monitor.execute('set_link', { name: deviceId('nic', nic), up: links.get(nic) === 'up' }),
      )
  }

  /** Starts what serves a NIC in user mode, and gives QEMU the other end of its socket. */
  async #serve(
    monitor: QmpClient,
    plan: UserNicPlan,
    { fdname }: { readonly fdname: string },
  ): Promise<void> {
    const { paths, record, helpers } = this.#parts
    const [end, helperEnd] = await connectPair(paths.directory)
    try {
      const { cgroup, uid, cage } = record()
      const host = { cgroup, helperUid: uid + 1, trees: cage.trees }
      await startHelper(helpers, { ...host, plan, fd: helperEnd.fd })
      await monitor.executeBeside('getfd', {
        args: { fdname },
        send: (socket, text) => sendDescriptor(socket, { text, descriptor: end.fd }),
      })
    } finally {
      end.release()
      helperEnd.release()
    }
  }

  async #make(monitor: QmpClient, plan: NicPlan): Promise<void> {
    const { failpoint } = this.#parts
    await takeBack(monitor, plan)
    const [fds, vhostFds] = [endNames(plan), vhostNames(plan)]
    if (plan.backEnd.kind === 'tap') await passTap(monitor, plan.backEnd.tap, fds)
    else await this.#serve(monitor, plan.backEnd.user, { fdname: fds.join() })
    for (const fdname of vhostFds) await passVhost(monitor, fdname)
    await failpoint('emulator.plug-nic.after-tap')
    const { netdev } = plan.ids
    const backEnd =
      plan.backEnd.kind === 'tap' ? tapOptions(netdev, { fds, vhostFds }) : socketOptions(netdev, fds.join())
    // What the model planned is what QEMU's introspection names; its types are those of one version of it.
    await monitor.executeUntyped('netdev_add', { ...backEnd })
    await failpoint('emulator.plug-nic.after-netdev')
    await monitor.executeUntyped('device_add', { ...plan.device })
    await failpoint('emulator.plug-nic.after-device')
  }
}

/** What QEMU calls the queues of a tap, or the socket, until its back end takes them. */
function endNames({ ids, backEnd }: NicPlan): readonly string[] {
  const queues = backEnd.kind === 'tap' ? backEnd.tap.queues : 1
  return Array.from({ length: queues }, (_, queue) => `${ids.netdev}.${queue}`)
}

/** The same of what serves them in the kernel, where that does. */
function vhostNames({ ids, backEnd }: NicPlan): readonly string[] {
  if (backEnd.kind === 'user' || !backEnd.tap.vhost) return []
  return Array.from({ length: backEnd.tap.queues }, (_, queue) => `vhost-${ids.netdev}.${queue}`)
}

/** One that served the NIC before ends a moment after its back end, and has its ports until then. */
async function startHelper(
  helpers: NicServers,
  {
    plan,
    fd,
    ...host
  }: {
    readonly trees: readonly string[]
    readonly cgroup: string
    readonly helperUid: number
    readonly plan: UserNicPlan
    readonly fd: number
  },
): Promise<void> {
  const deadline = performance.now() + portsMs
  for (;;) {
    try {
      const signal = AbortSignal.timeout(helperMs)
      await helpers.start({
        ...host,
        nics: [{ plan, fd }],
        signal,
        otherwise: 'the NIC is not plugged',
      })
      return
    } catch (error) {
      const isTaken = error instanceof KvasirError && error.code === 'in-use'
      if (!isTaken || performance.now() > deadline) throw error
      await pause(portsPollMs)
    }
  }
}

async function passVhost(monitor: QmpClient, fdname: string): Promise<void> {
  await using file = await openForGuest({ kind: 'device', path: vhostNetDevice })
  await monitor.executeBeside('getfd', {
    args: { fdname },
    send: (socket, text) => sendDescriptor(socket, { text, descriptor: file.fd }),
  })
}

async function passTap(monitor: QmpClient, tap: TapPlan, names: readonly string[]): Promise<void> {
  const taps = await openTapsWhenFree([tap], 'the NIC is not plugged')
  try {
    for (const [queue, fdname] of names.entries()) {
      const fd = taps.queues.get(tap.tap)?.[queue]
      if (fd === undefined) throw new TypeError(`Tap ${tap.tap} has no queue ${queue}.`)
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
