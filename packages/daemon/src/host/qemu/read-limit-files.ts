/** What a VM's cgroup says of its limits. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { LimitFiles } from '../../model/vm/limit-files.ts'

/** The texts of files of a cgroup; without those that this host does not have. */
export async function readLimitFiles(cgroup: string, files: readonly string[]): Promise<LimitFiles> {
  const read = async (file: string) =>
    [file, await readFile(join(cgroup, file), 'utf8').catch(() => undefined)] as const
  const found = await Promise.all(files.map(read))
  return Object.fromEntries(found.flatMap(([file, text]) => (text === undefined ? [] : [[file, text]])))
}
