/**
 * Channels that come to one running QEMU and go from it, over QMP: the socket as a descriptor, the character device, the port; and back again.
 *
 * QEMU listens itself on what it is given (`getfd`), so that the daemon may go. A character device without its port is what an interrupted
 * attempt left, or a port that went.
 */
import { rm } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { listenForChild, sendDescriptor } from '@kvasir/linux'
import { type QmpClient, QmpError } from '@kvasir/qmp'
import type { ChannelPlan } from '../../model/qemu/channels.ts'
import type { ChannelIds } from '../../model/qemu/emulator-plan.ts'
import type { Failpoints } from '../../ports/failpoints.ts'
import type { EmulatorPaths, StoredEmulator } from './runtime-directory.ts'

/** How long a port may hold on to its character device. */
const freeMs = 10_000
const pollMs = 20

/** Where a channel's socket is, and what is reached on the way. */
export interface ChannelSite {
  readonly paths: EmulatorPaths
  readonly failpoint: Failpoints
}

/** Makes the socket, the character device and the port, anew where an attempt was interrupted. */
export async function makeChannel(
  monitor: QmpClient,
  { ids, device }: ChannelPlan,
  { paths, failpoint }: ChannelSite,
): Promise<void> {
  await removeBackEnd(monitor, ids, paths)
  const listener = await listenForChild(paths.socket(ids.socket))
  try {
    await monitor.executeBeside('getfd', {
      args: { fdname: ids.device },
      send: (socket, text) => sendDescriptor(socket, { text, descriptor: listener.fd }),
    })
    await monitor.execute('chardev-add', {
      id: ids.device,
      backend: {
        type: 'socket',
        data: { addr: { type: 'fd', data: { str: ids.device } }, server: true, wait: false },
      },
    })
  } finally {
    await listener.release()
  }
  await failpoint('emulator.plug-channel.after-back-end')
  // What the model planned is what QEMU's introspection names; its types are those of one version of it.
  await monitor.executeUntyped('device_add', { ...device })
  await failpoint('emulator.plug-channel.after-device')
}

/** Removes the character device and its socket; whoever is connected is sent away. */
export async function removeBackEnd(
  monitor: QmpClient,
  { device: id, socket }: ChannelIds,
  paths: EmulatorPaths,
): Promise<void> {
  await monitor.execute('closefd', { fdname: id }).catch(refused) // It has none of that name.
  const there = await monitor.execute('query-chardev')
  if (there.some(({ label }) => label === id)) await removeWhenFree(monitor, id)
  await rm(paths.socket(socket), { force: true })
}

/** Removes a character device: what the guest does not have any more holds on to it until QEMU frees it, a moment later (qom/object.c, util/rcu.c). */
export async function removeWhenFree(monitor: QmpClient, id: string): Promise<void> {
  const deadline = performance.now() + freeMs
  for (;;) {
    try {
      await monitor.execute('chardev-remove', { id })
      return
    } catch (error) {
      const isBusy = error instanceof QmpError && error.message.includes('is busy')
      if (!isBusy || performance.now() > deadline) throw error
      await pause(pollMs)
    }
  }
}

function refused(error: unknown): void {
  if (!(error instanceof QmpError)) throw error
}

/** What is written down about an emulator once a channel is there, or is about to be. */
export function withChannel(record: StoredEmulator, { channel, ids }: ChannelPlan): StoredEmulator {
  const known = record.plan.ids
  return { ...record, plan: { ids: { ...known, channels: { ...known.channels, [channel]: ids } } } }
}

/** The same once it is gone. */
export function withoutChannel(record: StoredEmulator, channel: string): StoredEmulator {
  const known = record.plan.ids
  const { [channel]: _gone, ...channels } = known.channels ?? {}
  return { ...record, plan: { ids: { ...known, channels } } }
}
