/**
 * The daemon as one file, for the tests in the lab: loading some six hundred modules takes a quarter of a minute there, one takes four
 * seconds. It is made anew before each run, of the sources as they are.
 *
 * Invariant: it says of itself what its sources say, since the lab shows the checkout under its own path.
 */
import { dirname, join } from 'node:path'
import { rolldown } from 'rolldown'

/** Where the bundle of a checkout is. */
export function daemonBundle(checkout: string): string {
  return join(checkout, '.cache/lab/daemon.mjs')
}

/** Writes the bundle. */
export async function bundleDaemon(checkout: string): Promise<void> {
  await using build = await rolldown({
    input: join(checkout, 'packages/daemon/src/main.ts'),
    platform: 'node',
    plugins: [
      {
        name: 'folders-of-sources',
        transform: (code, id) => code.replaceAll('import.meta.dirname', JSON.stringify(dirname(id))),
      },
    ],
  })
  await build.write({ file: daemonBundle(checkout), format: 'esm', codeSplitting: false })
}
