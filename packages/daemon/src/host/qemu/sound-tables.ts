/**
 * Qcow2 files whose first tables lie behind their end, looked for before an emulator gets them: QEMU would open them, and a guest see an
 * empty disk. Two reads of what is in the page cache most of the time; what may hang is read by a process that can be killed.
 *
 * Not of what QEMU speaks to itself, which has no file here.
 */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { damageOfTables, qcow2FilesOf } from '../../model/qemu/damaged-disk.ts'
import { diskOf } from '../../model/qemu/disk-of.ts'
import type { Descriptor, EmulatorPlan } from '../../model/qemu/emulator-plan.ts'
import { tableBehindEnd, tablesHeaderBytes } from '../../model/storage/qcow2-header.ts'
import { beginningGuarded } from '../pools/open-guarded.ts'
import { damageError } from './damage-error.ts'

type File = Extract<Descriptor, { readonly kind: 'file' }>

/** Looks at all of a plan. `volume-damaged`. */
export async function requireSoundTables(
  plan: Pick<EmulatorPlan, 'argv' | 'descriptors' | 'ids'>,
): Promise<void> {
  const consequence = 'the VM does not run'
  await Promise.all(
    qcow2FilesOf(plan).map(({ node, file }) =>
      requireSoundFile(file, { disk: diskOf(node, plan) ?? '', consequence }),
    ),
  )
}

/** Looks at one. A file that is not there, or is none of qcow2, is for others to refuse; `pool-unreachable` for one that does not answer. */
export async function requireSoundFile(
  file: File,
  whose: { readonly disk: string; readonly consequence: string },
): Promise<void> {
  const table = file.guarded ? await lookGuarded(file) : await lookAt(file.path)
  if (table === undefined) return
  const cause = new Error(`The ${table} lie behind the end of the file.`)
  throw damageError({ path: file.path, damage: damageOfTables(table) }, { ...whose, cause })
}

async function lookGuarded({ path, device }: File) {
  const found = await beginningGuarded(path, { lengthBytes: tablesHeaderBytes, device })
  return found && tableBehindEnd(found.bytes, found.sizeBytes)
}

async function lookAt(path: string) {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const { buffer, bytesRead } = await file.read(new Uint8Array(tablesHeaderBytes), 0, tablesHeaderBytes, 0)
    const { size } = await file.stat() // After the read: a table that moves is there before a header names it.
    return tableBehindEnd(buffer.subarray(0, bytesRead), size)
  } catch (error) {
    if (error instanceof Error && 'code' in error) return undefined
    throw error
  }
}
