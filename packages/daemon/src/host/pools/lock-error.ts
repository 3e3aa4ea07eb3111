/** QEMU's refusal of a file that another program has locked, as one of ours that names the program. */
import { stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import type { Descriptor } from '../../model/qemu/emulator-plan.ts'
import type { PathSource, VolumeSource } from '../../model/storage/volume-source.ts'
import { placeOf } from './jailed-chain.ts'
import { findLockHolders, holderWords, type LockedFile, lockDevice } from './lock-holders.ts'
import { Hands } from './pool-hands.ts'

const handsTimeoutMs = 5_000

type GivenFile = Pick<
  Extract<Descriptor, { readonly kind: 'file' }>,
  'path' | 'access' | 'guarded' | 'device'
>

/** Whether QEMU or one of its tools says that a file is locked (block/file-posix.c). */
export function isLockRefusal(text: string): boolean {
  return /Failed to (?:get|lock|acquire) (?:shared )?(?:"[a-z-]+" lock|byte)/.test(text)
}

/** The refusal for the one of these files that is locked. Never throws: who holds it may be gone again. */
export async function lockError(chain: readonly VolumeSource[], consequence: string): Promise<KvasirError> {
  const files = chain.filter((source) => source.kind !== 'protocol')
  for (const file of files) {
    const locked = await identityOf(file).catch(() => undefined)
    const holders = locked === undefined ? [] : await findLockHolders(locked)
    if (holders.length === 0) continue
    return new KvasirError(
      'in-use',
      `The file ${file.path} is locked by ${holderWords(holders)}, so ${consequence}.`,
      { details: { path: file.path, holders } },
    )
  }
  const path = files[0]?.path ?? placeOf(chain)
  return new KvasirError('in-use', `The file ${path} is locked by another program, so ${consequence}.`, {
    details: { path },
  })
}

/** The same for files that an emulator was given: of those, the ones that it was to write to, where there are such. */
export async function lockErrorOf(files: readonly GivenFile[], consequence: string): Promise<KvasirError> {
  const written = files.filter(({ access }) => access === 'read-write')
  const sources = (written.length > 0 ? written : files).map(({ path, guarded, device }): PathSource => {
    if (device) return { kind: 'device', path, format: 'raw' }
    return { path, format: 'raw', ...(guarded ? { guarded } : {}) }
  })
  return await lockError(sources, consequence)
}

async function identityOf(file: PathSource): Promise<LockedFile> {
  const { path } = file
  if (file.kind === 'device' || file.guarded !== true) {
    const { dev, ino } = await stat(path)
    // linux/kdev_t.h, as the C library takes a number of a device apart (sysmacros.h).
    const [major, minor] = [Math.floor(dev / 256) & 0xfff, (dev & 0xff) | (Math.floor(dev / 4096) & 0xfff00)]
    return { path, device: lockDevice(major, minor), inode: ino }
  }
  const hands = new Hands({ path: dirname(path), mark: '' })
  try {
    const answer = await hands.order({ words: ['stat', basename(path)], timeoutMs: handsTimeoutMs })
    const [, , , major, minor, inode] = answer.toString().split('\0')
    return { path, device: lockDevice(Number(major), Number(minor)), inode: Number(inode) }
  } finally {
    hands.kill()
  }
}
