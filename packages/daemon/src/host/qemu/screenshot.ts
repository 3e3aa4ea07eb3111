/** A picture of a guest's display. QEMU cannot make a file in the sealed share; it may write to one that was made for it. */
import { lchown, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { QmpClient } from '@kvasir/qmp'

/** The picture as PNG. The file is gone afterwards. */
export async function takeScreenshot(
  monitor: QmpClient,
  { share, name, uid }: { readonly share: string; readonly name: string; readonly uid: number },
): Promise<Uint8Array> {
  const path = join(share, name)
  await rm(path, { force: true })
  await writeFile(path, '', { mode: 0o600, flag: 'wx' })
  try {
    await lchown(path, uid, uid)
    await monitor.execute('screendump', { filename: `/run/vm/${name}`, format: 'png' })
    return await readFile(path)
  } finally {
    await rm(path, { force: true })
  }
}
