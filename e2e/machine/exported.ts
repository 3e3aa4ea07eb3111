/** Exports of a VM to files, and the disks that a full one and what changed since make. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { World } from './world.ts'

/** Exports VM web1 to a folder of the place; answers what the command said. */
export async function exportTo(world: World, folder: string, ...flags: readonly string[]): Promise<string> {
  const path = join(world.place.base, folder)
  mkdirSync(path)
  const run = await world.cli('vm', 'export', 'web1', '--to-dir', path, ...flags)
  assert.equal(run.code, 0, run.stderr)
  return run.stdout + run.stderr
}

/** A disk made of a full copy and what changed, one after another. */
export function rebuilt(world: World, disk: string, folders: readonly string[]): string {
  const files = folders.map((folder) => join(world.place.base, folder, `${disk}.qcow2`))
  for (const file of files) execFileSync('qemu-img', ['check', '-q', '-f', 'qcow2', file])
  const chain = files.map((file) => `${file}.chain`)
  for (const [index, file] of files.entries()) {
    const [path = '', base = ''] = [chain[index], chain[index - 1]]
    copyFileSync(file, path)
    if (base !== '')
      execFileSync('qemu-img', ['rebase', '-u', '-f', 'qcow2', '-b', base, '-F', 'qcow2', path])
  }
  return chain.at(-1) ?? ''
}

/** Asserts that a full copy and what changed are a disk as a later full copy has it. */
export function assertRebuilt(
  world: World,
  disk: string,
  { folders, whole }: { readonly folders: readonly string[]; readonly whole: string },
): void {
  const top = rebuilt(world, disk, folders)
  const file = join(world.place.base, whole, `${disk}.qcow2`)
  const said = execFileSync('qemu-img', ['compare', '-f', 'qcow2', '-F', 'qcow2', top, file]).toString()
  assert.match(said, /identical/)
}
