/** Folders that the lab's kernel NFS server exports, each for one test. */
import { randomUUID } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { sh } from './shell.ts'

/** What the server exports, all below it too. */
export const served = '/srv/nfs'

/** A folder that the server exports, by its name below `served`; gone after the test. */
export async function newExport(t: TestContext, ending = ''): Promise<string> {
  const name = randomUUID() + ending
  const folder = join(served, name)
  await mkdir(folder, { mode: 0o755 })
  // What a test exported and mounted there itself has to go first, and hooks run in their order.
  t.after(async () => {
    await sh(`exportfs -u '127.0.0.1:${folder}' 2>/dev/null; umount -l '${folder}' 2>/dev/null; true`)
    await rm(folder, { recursive: true, force: true })
  })
  return name
}
