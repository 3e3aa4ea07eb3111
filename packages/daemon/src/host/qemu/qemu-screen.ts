/** The screen of one QEMU: pictures by its monitor, viewers by the sockets in its share directory. */
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { type KeyName, KvasirError } from '@kvasir/contract'
import type { QmpClient } from '@kvasir/qmp'
import type { EmulatorScreen } from '../../ports/emulator-screen.ts'
import { openSocket } from './open-socket.ts'
import type { EmulatorPaths, StoredEmulator } from './runtime-directory.ts'
import { takeScreenshot } from './screenshot.ts'

export interface QemuScreenParts {
  readonly ask: <T>(work: (monitor: QmpClient) => Promise<T>) => Promise<T>
  readonly paths: EmulatorPaths
  readonly emulator: Pick<StoredEmulator, 'uid' | 'plan'>
}

export class QemuScreen implements EmulatorScreen {
  readonly #parts: QemuScreenParts
  #screenshots = 0

  constructor(parts: QemuScreenParts) {
    this.#parts = parts
  }

  async screenshot(): Promise<Uint8Array> {
    const { ask, paths, emulator } = this.#parts
    const { vncSocketName, spiceSocketName } = emulator.plan.ids
    if ((vncSocketName ?? spiceSocketName) === undefined)
      throw new KvasirError('unsupported', 'The VM has no display, so there is nothing to see.')
    const name = `screen${this.#screenshots++ % 4}.png`
    return await ask((monitor) => takeScreenshot(monitor, { share: paths.share, name, uid: emulator.uid }))
  }

  async connectVnc(): Promise<Duplex> {
    const { paths, emulator } = this.#parts
    const { vncSocketName } = emulator.plan.ids
    if (vncSocketName === undefined)
      throw new KvasirError('unsupported', 'The VM has no display, so VNC cannot reach it.')
    return await openSocket(join(paths.share, vncSocketName))
  }

  async connectSpice(): Promise<Duplex> {
    const { paths, emulator } = this.#parts
    const { spiceSocketName } = emulator.plan.ids
    if (spiceSocketName === undefined)
      throw new KvasirError('unsupported', 'The VM has no SPICE, so it cannot be reached by that.')
    return await openSocket(join(paths.share, spiceSocketName))
  }

  async setSpicePassword(password: string, { lifeSeconds }: { readonly lifeSeconds: number }): Promise<void> {
    await this.#parts.ask(async (monitor) => {
      // Its end is set first: a password without one would be good for ever if the second command failed.
      await monitor.execute('expire_password', { protocol: 'spice', time: `+${lifeSeconds}` })
      await monitor.execute('set_password', { protocol: 'spice', password, connected: 'keep' })
    })
  }

  async sendKeys(keys: readonly KeyName[], { holdMs }: { readonly holdMs: number }): Promise<void> {
    const pressed = keys.map((data) => ({ type: 'qcode', data }) as const)
    await this.#parts.ask((monitor) => monitor.execute('send-key', { keys: pressed, 'hold-time': holdMs }))
  }
}
