/** The bundle of the daemon: packages/daemon/.cache/, used by `kvasir daemon` where it is (decision 42). */
import { dirname, join } from 'node:path'
import { type Bundle, writeBundle } from './bundle.ts'

const daemon = join(dirname(import.meta.dirname), 'packages/daemon')

/** Writes the bundle and its starter into a folder beside the sources of the daemon. */
export function bundleDaemon(folder = join(daemon, '.cache')): Promise<Bundle> {
  return writeBundle({ input: join(daemon, 'src/main.ts'), folder, isCommonJs: false, isOneFile: true })
}
