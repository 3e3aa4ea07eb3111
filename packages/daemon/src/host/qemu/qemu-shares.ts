/**
 * The shares of one running QEMU over QMP: what serves the folder, the socket to it, the device; and back again.
 *
 * QEMU does not answer before what serves does (hw/virtio/vhost-user.c reads in its main thread), and the guest stands still that long. So what
 * serves is ended where the device does not come in time: QEMU goes on then. It ends by itself when the socket is closed, which the character
 * device has.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { isAlive, sendDescriptor } from '@kvasir/linux'
import { type QmpClient, QmpError, QmpTimeoutError } from '@kvasir/qmp'
import type { SharePlan } from '../../model/qemu/emulator-plan.ts'
import { type PluggedShare, shareId } from '../../model/qemu/shares.ts'
import type { EmulatorShares } from '../../ports/emulator-shares.ts'
import type { Failpoints } from '../../ports/failpoints.ts'
import type { CagedProcess, Cages } from '../cage/cage.ts'
import { openShares } from './open-shares.ts'
import { askToLetGo, deviceIds } from './peripherals.ts'
import { removeWhenFree } from './plug-channel.ts'
import type { EmulatorPaths } from './runtime-directory.ts'
import { shareFolder, startShares } from './share-helper.ts'

/** How long what serves a folder may take to be there. */
const startMs = 20_000
/** How long QEMU may stand still for what serves a folder, which answers within milliseconds. */
const answerMs = 5_000
const otherwise = 'the share is not plugged'

export interface QemuSharesParts {
  /** The id of the VM. */
  readonly id: string
  /** Works with the monitor of now, with the errors of the port. */
  readonly ask: <T>(work: (monitor: QmpClient) => Promise<T>) => Promise<T>
  readonly cages: Pick<Cages, 'launch'>
  readonly paths: EmulatorPaths
  readonly failpoint: Failpoints
}

export class QemuShares implements EmulatorShares {
  readonly #parts: QemuSharesParts

  constructor(parts: QemuSharesParts) {
    this.#parts = parts
  }

  async plug(plan: PluggedShare): Promise<void> {
    const { share } = plan.share
    if ((await this.present([share])).length > 0) return
    await this.remove(share)
    const serving: CagedProcess[] = []
    try {
      await this.#make(plan, serving)
    } catch (error) {
      for (const { identity } of serving) if (await isAlive(identity)) process.kill(identity.pid, 'SIGKILL')
      await this.remove(share).catch(() => {}) // The next attempt begins with it.
      throw error
    }
  }

  async present(names: readonly string[]): Promise<readonly string[]> {
    if (names.length === 0) return []
    const ids = await this.#parts.ask(deviceIds)
    return names.filter((name) => ids.includes(shareId(name)))
  }

  async askFor(name: string): Promise<void> {
    await this.#parts.ask((monitor) => askToLetGo(monitor, shareId(name)))
  }

  async remove(name: string): Promise<void> {
    const { ask, paths } = this.#parts
    const id = shareId(name)
    await ask(async (monitor) => {
      await monitor.execute('closefd', { fdname: id }).catch((error: unknown) => {
        if (!(error instanceof QmpError)) throw error // It has none of that name.
      })
      const there = await monitor.execute('query-chardev')
      if (there.some(({ label }) => label === id)) await removeWhenFree(monitor, id)
    })
    await rm(join(paths.directory, shareFolder(name)), { recursive: true, force: true })
  }

  async #make({ share, device }: PluggedShare, serving: CagedProcess[]): Promise<void> {
    const { id, ask, cages, paths, failpoint } = this.#parts
    const name = shareId(share.share)
    const shares = await openShares([share.share], paths.directory, otherwise)
    try {
      const signal = AbortSignal.timeout(startMs)
      serving.push(
        ...(await startShares(
          { id, plan: { shares: [share] } },
          { cages, paths, shares, signal, otherwise },
        )),
      )
      await failpoint('emulator.plug-share.after-server')
      const end = shares.ends.get(share.share)?.connected
      if (end === undefined) throw new TypeError(`Share ${share.share} has no socket.`)
      await ask((monitor) =>
        monitor.executeBeside('getfd', {
          args: { fdname: name },
          send: (socket, text) => sendDescriptor(socket, { text, descriptor: end }),
        }),
      )
    } finally {
      shares.release()
    }
    await ask((monitor) =>
      monitor.execute('chardev-add', {
        id: name,
        backend: { type: 'socket', data: { addr: { type: 'fd', data: { str: name } }, server: false } },
      }),
    )
    await failpoint('emulator.plug-share.after-back-end')
    // What the model planned is what QEMU's introspection names; its types are those of one version of it.
    await ask((monitor) =>
      monitor.executeUntyped('device_add', { ...device }, { timeoutMs: answerMs }).catch((error: unknown) => {
        throw error instanceof QmpTimeoutError ? silent(share, error) : error
      }),
    )
    await failpoint('emulator.plug-share.after-device')
  }
}

function silent({ share, folder }: SharePlan, cause: Error): KvasirError {
  const stood = `did not answer QEMU in ${answerMs / 1000} s, for which the guest stood still`
  return new KvasirError(
    'emulator-failed',
    `virtiofsd, which serves the folder ${folder}, ${stood}; it was ended, so ${otherwise}.`,
    { cause, details: { share } },
  )
}
