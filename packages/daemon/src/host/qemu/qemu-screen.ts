/** The screen of one QEMU: pictures by its monitor, viewers by the sockets in its share directory. */
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { KvasirError } from '@kvasir/contract'
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
    if (emulator.plan.ids.vncSocketName === undefined)
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
}
