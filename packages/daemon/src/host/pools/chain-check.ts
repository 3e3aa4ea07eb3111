/**
 * Is a chain what the store says? A volume's header was writable by its emulator, so before root reads a chain its headers are
 * compared with the record: the base that each names, and no data kept elsewhere.
 */
import { constants } from 'node:fs'
import { open, readFile, realpath } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { maxChainLength } from '../../model/storage/chain.ts'
import { parseQcow2Header, qcow2HeaderBytes } from '../../model/storage/qcow2-header.ts'
import { isEncryptedRaw, type PathSource, type VolumeSource } from '../../model/storage/volume-source.ts'
import { Hands, HandsError } from './pool-hands.ts'

export interface InspectedLink {
  readonly capacityBytes: number
  readonly allocatedBytes: number
  readonly backingFile: string | undefined
  readonly isEncrypted: boolean
}

export interface CheckedChain {
  readonly chain: readonly PathSource[]
  readonly capacityBytes: number
  readonly allocatedBytes: number
}

const handsTimeoutMs = 5_000

/**
 * Reads one file of a chain without following what it names. Throws `file-not-found` or `image-refused`, and `PoolHung` for one that
 * lies on what hangs.
 */
export async function inspectLink(link: PathSource): Promise<InspectedLink> {
  if (link.kind === 'device') return await inspectDevice(link)
  if (isGuarded(link)) return await inspectGuarded(link)
  const file = await openRegular(link.path)
  try {
    const stat = await file.stat()
    if (!stat.isFile()) throw refuse(link.path, 'is not a regular file')
    const allocatedBytes = stat.blocks * 512
    if (link.format === 'raw')
      return { capacityBytes: stat.size, allocatedBytes, backingFile: undefined, isEncrypted: false }
    const buffer = new Uint8Array(Math.min(qcow2HeaderBytes, stat.size))
    const { bytesRead } = await file.read(buffer, 0, buffer.length, 0)
    const { size } = await file.stat() // It may have grown since, and its header says so.
    return { ...parseQcow2Header(link.path, buffer.subarray(0, bytesRead), size), allocatedBytes }
  } finally {
    await file.close()
  }
}

/** What the kernel says of a block device, which is not opened for that (Documentation/ABI/stable/sysfs-block: in sectors of 512 bytes). */
async function inspectDevice({ path, format }: PathSource): Promise<InspectedLink> {
  if (format !== 'raw') throw refuse(path, 'is a device, which holds raw volumes only')
  try {
    const name = basename(await realpath(path))
    const sectors = Number((await readFile(join('/sys/class/block', name, 'size'), 'utf8')).trim())
    const capacityBytes = sectors * 512
    return { capacityBytes, allocatedBytes: capacityBytes, backingFile: undefined, isEncrypted: false }
  } catch (cause) {
    throw notThere(path, cause)
  }
}

function isGuarded(link: PathSource): boolean {
  return link.kind !== 'device' && link.guarded === true
}

async function inspectGuarded({ path, format }: PathSource): Promise<InspectedLink> {
  const hands = new Hands({ path: dirname(path), mark: '' })
  const order = (...words: [string, ...(string | number)[]]) =>
    hands.order({ words, timeoutMs: handsTimeoutMs })
  try {
    const [kind, size, blocks] = (await order('stat', basename(path))).toString().split('\0')
    if (kind !== 'file') throw refuse(path, 'is not a regular file')
    const allocatedBytes = Number(blocks) * 512
    if (format === 'raw')
      return { capacityBytes: Number(size), allocatedBytes, backingFile: undefined, isEncrypted: false }
    const header = await order('read', basename(path), 0, qcow2HeaderBytes)
    const [, now] = (await order('stat', basename(path))).toString().split('\0')
    return { ...parseQcow2Header(path, header, Number(now)), allocatedBytes }
  } catch (error) {
    if (error instanceof HandsError && error.errno === 2) throw notThere(path, error)
    throw error
  } finally {
    hands.kill()
  }
}

/**
 * The whole chain of a volume, top first, its capacity, and the bytes that it occupies. `backing` is the chain below the top as the
 * store has it.
 */
export async function checkedChain(top: PathSource, backing: readonly PathSource[]): Promise<CheckedChain> {
  const chain: PathSource[] = []
  let allocatedBytes = 0
  let capacityBytes: number | undefined
  let link: PathSource | undefined = top
  while (link !== undefined) {
    if (chain.length >= maxChainLength) throw refuse(top.path, `has more than ${maxChainLength} ancestors`)
    const inspected = await inspectLink(link)
    chain.push(link)
    allocatedBytes += inspected.allocatedBytes
    capacityBytes ??= inspected.capacityBytes
    const next = backing[chain.length - 1]
    if (link.format === 'qcow2' && inspected.isEncrypted !== (link.encryption !== undefined))
      throw refuse(
        link.path,
        link.encryption ? 'is not encrypted as the store has it' : 'is an encrypted qcow2 image',
      )
    if (inspected.backingFile !== next?.path)
      throw refuse(link.path, 'names another base than the store has for it')
    link = next
  }
  return { chain, allocatedBytes, capacityBytes: capacityBytes ?? 0 }
}

/**
 * The same of a chain that may lie on storage that QEMU speaks to itself: no header there has a say, since all of the chain is spelled
 * out to whoever opens it, and only the top is looked at.
 */
export async function checkedSources(
  top: PathSource,
  backing: readonly VolumeSource[],
): Promise<{ readonly chain: readonly VolumeSource[]; readonly capacityBytes: number }> {
  const paths = backing.filter((link) => link.kind !== 'protocol')
  if (paths.length === backing.length) return await checkedChain(top, paths)
  return { chain: [top, ...backing], capacityBytes: (await inspectLink(top)).capacityBytes }
}

/** The least capacity of an overlay of a source, by what is to be seen of it; where nothing is, its row says what it has. */
export async function leastOver(base: VolumeSource): Promise<number> {
  if (base.kind === 'protocol') return 0
  const { capacityBytes } = await inspectLink(base)
  return isEncryptedRaw(base) ? 0 : capacityBytes // Its file begins with a header.
}

async function openRegular(path: string) {
  try {
    // Not through a link, and without waiting for the other end of a FIFO.
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (cause) {
    throw notThere(path, cause)
  }
}

function notThere(path: string, cause: unknown): KvasirError {
  const sentence = `The file ${path} cannot be opened, so nothing can be made from it.`
  return new KvasirError('file-not-found', sentence, { details: { path }, cause })
}

function refuse(path: string, what: string): KvasirError {
  return new KvasirError('image-refused', `The file ${path} ${what}, so it is not used.`, {
    details: { path },
  })
}
