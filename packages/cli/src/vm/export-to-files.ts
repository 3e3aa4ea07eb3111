/**
 * `vm export` to files of this machine or to stdout: disks as they were at one instant, or what changed since a checkpoint, while the VM
 * runs. The daemon keeps the instant until the last byte has come.
 *
 * A file has its name when it is whole; before, it is FILE.part. A VM that is off is read from its volume.
 */
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Instant, Vm } from '@kvasir/contract'
import { type ChangedPiece, plainBytes } from '@kvasir/contract/contents'
import { routes } from '@kvasir/contract/routes'
import { formatBytes } from '@kvasir/contract/size'
import type { ChangeDownload } from '@kvasir/sdk'
import type { Context } from '../context.ts'
import { ProgressBar } from '../output/progress-bar.ts'
import { UsageError } from '../usage-error.ts'
import { putPiece } from '../volume/file-pieces.ts'
import { Qcow2File } from './qcow2-file.ts'
import { untilCopied } from './until-copied.ts'

/** A client that is killed cannot end its instant. */
const idleSeconds = 60
const stdoutPath = '-'
const offStates: readonly Vm['status']['state'][] = ['shutoff', 'crashed', 'saved']

interface Target {
  readonly disk: string
  readonly path: string
  readonly format: 'raw' | 'qcow2'
}

type InstantDisk = Instant['disks'][number]

/** Exports disks to files, or one to stdout. */
export async function exportToFiles(context: Context): Promise<undefined> {
  const { client, signal } = context
  const params = { name: context.argument('NAME') }
  const vm = await client.call(routes.getVm, { params, signal })
  const [since, checkpoint] = [context.value('since'), context.value('checkpoint')]
  const targets = targetsOf(context, vm)
  for (const target of targets) await requireWritable(context, target, since)
  const isPlain = since === undefined && checkpoint === undefined
  if (isPlain && offStates.includes(vm.status.state)) {
    for (const target of targets) await writeOffDisk(context, vm, target)
    return undefined
  }
  const instant = await client.call(routes.createInstant, {
    params,
    body: {
      disks: targets.map(({ disk }) => disk),
      idleSeconds,
      quiesce: context.has('quiesce'),
      ...(since === undefined ? {} : { since }),
      ...(checkpoint === undefined ? {} : { checkpoint }),
    },
    idempotencyKey: crypto.randomUUID(),
    signal,
  })
  try {
    await untilCopied(context, instant)
    for (const disk of instant.disks) {
      const target = targets.find((one) => one.disk === disk.disk)
      if (target) await writeKeptDisk(context, { vm: params.name, instant, disk }, target)
    }
  } finally {
    await client
      .call(routes.endInstant, { params: { ...params, instant: instant.id } })
      .catch(() => undefined) // It ended by itself, or ends when nobody reads of it.
  }
  const waited = `The guest stood for ${instant.stoodMs.toFixed(1)} ms at most.`
  const begun = checkpoint === undefined ? '' : ` Checkpoint ${checkpoint} begins there.`
  context.output.message(`${waited}${begun}`)
  return undefined
}

function targetsOf(context: Context, vm: Vm): readonly Target[] {
  const wanted = context.choice('format', ['qcow2', 'raw'])
  const increment = context.value('since') !== undefined
  const folder = context.value('to-dir')
  if (folder === undefined) {
    const path = context.argument('FILE')
    const byName = path.endsWith('.qcow2') || increment ? 'qcow2' : 'raw'
    const format = wanted ?? (path === stdoutPath ? 'raw' : byName)
    return [{ disk: context.argument('EXPORT'), path, format }]
  }
  const format = wanted ?? 'qcow2'
  const disk = context.value('disk')
  return vm.spec.disks
    .filter(({ name, readOnly, device, volume }) =>
      disk === undefined ? !readOnly && device !== 'cdrom' && volume !== undefined : name === disk,
    )
    .map(({ name }) => ({ disk: name, path: join(folder, `${name}.${format}`), format }))
}

async function requireWritable(
  context: Context,
  { path, format }: Target,
  since: string | undefined,
): Promise<void> {
  if (since !== undefined && format === 'raw')
    throw new UsageError('A raw file has no room for what did not change.', 'Write it to a file in qcow2.')
  if (path === stdoutPath) {
    if (format === 'qcow2')
      throw new UsageError('A qcow2 file is not written in one go.', 'Name a file, or say --format raw.')
    if (context.output.stdout.isTTY)
      throw new UsageError('stdout is a terminal.', 'Send it to a program or a file, or name a file.')
    return
  }
  if (!context.has('force') && (await stat(path).catch(() => undefined)))
    throw new UsageError(`${path} exists.`, 'Name another file, or say --force.')
}

async function writeKeptDisk(
  context: Context,
  of: { readonly vm: string; readonly instant: Instant; readonly disk: InstantDisk },
  target: Target,
): Promise<void> {
  const { client, signal, output } = context
  const { vm, instant, disk } = of
  const params = { name: vm, instant: instant.id, disk: disk.disk }
  const download = await client.openInstant(params, { signal })
  const isIncrement = disk.kind === 'increment'
  const bytes = await write(context, { download, isIncrement }, target)
  if (disk.reason !== undefined)
    output.message(`All of disk ${disk.disk} is exported, since what changed is not known: ${disk.reason}.`)
  const what = isIncrement ? `What changed of disk ${disk.disk} since ${instant.since}` : `Disk ${disk.disk}`
  if (target.path !== stdoutPath) output.message(`${what} is in ${target.path} (${formatBytes(bytes)}).`)
}

async function writeOffDisk(context: Context, vm: Vm, target: Target): Promise<void> {
  const disk = vm.spec.disks.find(({ name }) => name === target.disk)
  if (disk?.volume === undefined)
    throw new UsageError(`VM ${vm.name} has no disk ${target.disk}.`, `See: kvasir vm show ${vm.name}`)
  const place = { pool: disk.pool, volume: disk.volume }
  const download = await context.client.openDownload(place, { signal: context.signal })
  const bytes = await write(context, { download, isIncrement: false }, target)
  if (target.path !== stdoutPath)
    context.output.message(`Disk ${disk.name} is in ${target.path} (${formatBytes(bytes)}).`)
}

/** Writes a disk; answers how much of it came as data. */
async function write(
  context: Context,
  source: { readonly download: ChangeDownload; readonly isIncrement: boolean },
  target: Target,
): Promise<number> {
  const { download, isIncrement } = source
  const counted = count(context, download, target)
  if (target.path === stdoutPath) {
    for await (const bytes of plainBytes(counted.pieces))
      await new Promise<void>((resolve, reject) => {
        process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()))
      })
    return counted.bytes()
  }
  const part = `${target.path}.part`
  const file = await open(part, 'w', 0o600)
  try {
    if (target.format === 'raw') await writeRaw(file, counted.pieces)
    else {
      const qcow2 = new Qcow2File(file, { sizeBytes: download.sizeBytes, isIncrement })
      for await (const piece of counted.pieces) await qcow2.put(piece)
      await qcow2.finish()
    }
    await file.sync()
    await rename(part, target.path)
  } catch (error) {
    await rm(part, { force: true })
    throw error
  } finally {
    await file.close()
  }
  return counted.bytes()
}

async function writeRaw(file: FileHandle, pieces: AsyncIterable<ChangedPiece>): Promise<void> {
  let offset = 0
  for await (const piece of pieces) {
    if (piece.kind === 'same') throw new Error('What tells of changes alone cannot be written as raw.')
    offset = await putPiece(file, offset, piece)
  }
}

/** The pieces, shown and counted as they go by. */
function count({ output }: Context, { pieces, sizeBytes }: ChangeDownload, { disk }: Target) {
  let bytes = 0
  async function* passing(): AsyncGenerator<ChangedPiece> {
    using bar = new ProgressBar(output)
    let [done, shownMs] = [0, 0]
    for await (const piece of pieces) {
      const lengthBytes = piece.kind === 'data' ? piece.bytes.length : piece.lengthBytes
      if (piece.kind === 'data') bytes += lengthBytes
      yield piece
      done += lengthBytes
      if (performance.now() - shownMs < 200) continue
      shownMs = performance.now()
      const progress = sizeBytes === 0 ? 1 : done / sizeBytes
      bar.show({ state: 'running', step: `exporting disk ${disk}`, progress })
    }
  }
  return { pieces: passing(), bytes: () => bytes }
}
