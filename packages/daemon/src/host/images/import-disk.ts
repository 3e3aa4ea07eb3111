/**
 * Makes an image of a disk image that a stranger made.
 *
 * The daemon itself reads the first bytes, of a regular file that was opened without following a link, and refuses what refers to
 * other files (model/images/inspect-header.ts). Then it takes a private copy, so that what was looked at is what is converted, and
 * everything after that happens in the jail: check, conversion to qcow2, check of the result. The result is a stranger's work too, so
 * its header is looked at in the same way before it is published.
 *
 * Not here: the jail (host/jail), where the image ends up (image-files.ts).
 */
import { constants } from 'node:fs'
import { chmod, chown, type FileHandle, lstat, mkdir, open, rename, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { type Image, type ImportFormat, KvasirError, packedImageBytes } from '@kvasir/contract'
import { decideFormat, headerBytes, inspectHeader } from '../../model/images/inspect-header.ts'
import type { Clock } from '../../ports/clock.ts'
import type { WorkOptions } from '../../ports/images.ts'
import type { JailedTools } from '../../ports/jailed-tools.ts'
import type { ImageShelf } from './image-files.ts'
import { ImageJail, refusal } from './image-jail.ts'
import { runStep } from './run-step.ts'
import { openScratch, type WorkDir } from './work-dir.ts'

const copyTimeoutMs = 3_600_000
/** What qcow2 needs besides the data: tables for 64 KiB clusters are 1/8192 of it, and a start of some clusters. */
const qcow2Overhead = { factor: 1.01, bytes: 16 * 2 ** 20 }
/** A conversion leaves this part of the free space to others. */
const spareFraction = 0.1

/** What the import works with. */
export interface ImportTools {
  readonly shelf: ImageShelf
  readonly work: WorkDir
  readonly jailed: JailedTools
  readonly clock: Pick<Clock, 'now'>
}

/** What is imported, and as what. */
export interface ImportRequest {
  readonly path: string
  readonly name: string
  readonly source: string
  readonly format: ImportFormat | undefined
  /** True for a file of the work directory that may be taken instead of copied. */
  readonly isOurs: boolean
}

/** Imports a file. Throws `KvasirError`: `file-not-found`, `image-refused`, `not-enough-space`. */
export async function importDisk(
  tools: ImportTools,
  { request, options }: { readonly request: ImportRequest; readonly options: WorkOptions },
): Promise<Image> {
  const { signal, onProgress } = options
  onProgress('looking at the file', 0)
  await using scratch = await openScratch(tools.work, 'import')
  const copy = join(scratch.path, 'source')
  const format = await takeCopy(request, { copy, options })

  const jail = new ImageJail(tools.jailed, { signal, name: request.name })
  const virtualSizeBytes = await jail.virtualSize(copy, format)
  onProgress('checking', 0.3)
  await jail.check(copy, format)

  onProgress('converting', 0.4)
  await using staged = await tools.shelf.stage()
  const output = join(scratch.path, 'out')
  await mkdir(output, { mode: 0o700 })
  await jail.convert({ copy, format, output, fileSizeBytes: await outputLimit(output, virtualSizeBytes) })

  onProgress('checking the result', 0.9)
  const disk = join(output, 'disk.qcow2')
  await takeResult(disk, request.name)
  await jail.check(disk, 'qcow2')
  await chmod(disk, 0o600)
  await rename(disk, staged.paths.disk)
  return await staged.publish(
    {
      name: request.name,
      createdAt: tools.clock.now(),
      source: request.source,
      os: 'unknown',
      release: 'unknown',
      version: 'unknown',
      architecture: 'x86_64',
      boot: 'disk',
      firmware: ['bios', 'uefi'],
      virtualSizeBytes,
    },
    signal,
  )
}

/** Copies the file and says what it is read as; refuses everything that is not a disk image of its own. */
async function takeCopy(
  request: ImportRequest,
  { copy, options }: { readonly copy: string; readonly options: WorkOptions },
): Promise<ImportFormat> {
  await using file = await openRegular(request.path)
  const { size } = await file.stat()
  const header = Buffer.alloc(Math.min(headerBytes, size))
  await file.read(header, 0, header.length, 0)
  const end = Buffer.alloc(Math.min(packedImageBytes, size))
  await file.read(end, 0, end.length, size - end.length)
  const finding = inspectHeader(header)
  const decision = decideFormat({ requested: request.format, finding, sizeBytes: size, end })
  if (decision.kind === 'refused') throw refusal(request.name, decision.reason)

  await bringIn(file, { request, copy, options })
  await chmod(copy, 0o444)
  await requireUnchanged(copy, { header, size, name: request.name })
  return decision.format
}

async function bringIn(
  file: FileHandle,
  {
    request,
    copy,
    options,
  }: { readonly request: ImportRequest; readonly copy: string; readonly options: WorkOptions },
): Promise<void> {
  if (request.isOurs) return rename(request.path, copy)
  const { signal, onProgress } = options
  onProgress('copying', 0.1)
  // Through the open descriptor: the name may mean another file by now.
  const argv = ['cp', '--sparse=always', '--reflink=auto', '--', `/proc/${process.pid}/fd/${file.fd}`, copy]
  await runStep(argv, { cwd: '/', signal, timeoutMs: copyTimeoutMs }).catch((cause: unknown) => {
    signal.throwIfAborted()
    const sentence = `The file for image ${request.name} could not be copied, so it was not imported.`
    throw new KvasirError('not-enough-space', sentence, { cause })
  })
}

/** The copy is what is converted, so it is the copy that has to be what was looked at. */
async function requireUnchanged(
  copy: string,
  expected: { readonly header: Buffer; readonly size: number; readonly name: string },
): Promise<void> {
  await using file = await open(copy, 'r')
  const header = Buffer.alloc(expected.header.length)
  await file.read(header, 0, header.length, 0)
  if ((await file.stat()).size !== expected.size || !header.equals(expected.header)) {
    throw refusal(expected.name, 'it changed while it was read')
  }
}

async function openRegular(path: string): Promise<FileHandle> {
  const handle = await open(
    path,
    constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY,
  ).catch((cause: unknown) => {
    throw openRefusal(path, cause)
  })
  const stat = await handle.stat()
  if (stat.isFile()) return handle
  await handle.close()
  throw new KvasirError('image-refused', `${path} is no regular file, so it is not an image.`)
}

function openRefusal(path: string, cause: unknown): KvasirError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new KvasirError('file-not-found', `There is no file ${path}, so nothing was imported.`, { cause })
  }
  if (code === 'ELOOP') {
    return new KvasirError(
      'image-refused',
      `${path} is a symbolic link, which is not followed; name the file.`,
      { cause },
    )
  }
  return new KvasirError('image-refused', `${path} cannot be opened, so nothing was imported.`, { cause })
}

async function outputLimit(directory: string, virtualSizeBytes: number): Promise<number> {
  const { bavail, bsize } = await statfs(directory)
  const most = virtualSizeBytes * qcow2Overhead.factor + qcow2Overhead.bytes
  return Math.floor(Math.min(most, bavail * bsize * (1 - spareFraction)))
}

/** Takes what the jail left: a regular file with one name whose header refers to nothing. */
async function takeResult(path: string, name: string): Promise<void> {
  const found = await lstat(path)
  if (!found.isFile() || found.nlink !== 1) throw refusal(name, 'its conversion left no regular file')
  await chown(path, 0, 0)
  await chmod(path, 0o444)
  await using file = await openRegular(path)
  const header = Buffer.alloc(Math.min(headerBytes, found.size))
  await file.read(header, 0, header.length, 0)
  const finding = inspectHeader(header)
  if (finding.kind !== 'image' || finding.format !== 'qcow2') {
    throw refusal(name, 'its conversion left no plain qcow2 image')
  }
}
