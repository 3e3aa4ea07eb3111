/**
 * Sets the host's memory management as the configuration says, and remembers what was there before.
 *
 * Invariant: what a file held before is on disk before the file is written, so a daemon that dies is followed by one that can still
 * give it back. It is given back when a daemon leaves a host on which none of its VMs runs, or when the configuration no longer names
 * the setting; while VMs run on, so does what they were started under. A boot of the host forgets everything by itself.
 *
 * A file that is missing or cannot be written is told and stops nothing, and so is a full disk, on which nothing can be remembered. Not here: which files and values (model/memory/host-tuning.ts).
 */
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { type HostTuning, heldValue, type TunedFile, tunedFiles } from '../../model/memory/host-tuning.ts'
import type { TuningOutcome } from '../../ports/host-facts.ts'

const remembered = z.object({
  bootId: z.string(),
  /** In the order in which they were written. */
  files: z.array(z.object({ path: z.string(), value: z.string() })),
})

type Remembered = z.output<typeof remembered>['files'][number]

export interface TuningOptions {
  readonly wanted: HostTuning
  readonly statePath: string
  readonly bootId: string
  /** Where the kernel's files are; another folder in tests. */
  readonly root?: string
}

export interface AppliedTuning {
  readonly outcomes: readonly TuningOutcome[]
  /** Writes back what was there before, the last first. */
  giveBack(): Promise<void>
}

/** Applies the configuration. Never rejects for what the kernel refuses. */
export async function applyHostTuning(options: TuningOptions): Promise<AppliedTuning> {
  const { wanted, statePath, bootId, root = '/' } = options
  const files = tunedFiles(wanted)
  const before = await readRemembered(options)
  const isWanted = (path: string) => files.some((file) => file.path === path)
  await writeBack(
    before.filter(({ path }) => !isWanted(path)),
    root,
  )
  const kept = before.filter(({ path }) => isWanted(path))
  const found = await Promise.all(files.map((file) => foundBefore(file, { kept, root })))
  const unnoted = await remember(
    found.filter((file) => file !== undefined),
    { statePath, bootId },
  ).then(
    () => undefined,
    (error: unknown) => error,
  )
  const outcomes: TuningOutcome[] = []
  for (const file of files) {
    const isKnown = unnoted === undefined || kept.some(({ path }) => path === file.path)
    outcomes.push(await (isKnown ? writeTuned(file, root) : leave(file, { root, why: unnoted })))
  }
  return {
    outcomes,
    async giveBack() {
      await writeBack(await readRemembered(options), root)
      await rm(statePath, { force: true })
    },
  }
}

async function readRemembered({ statePath, bootId }: TuningOptions): Promise<readonly Remembered[]> {
  try {
    const parsed = remembered.parse(JSON.parse(await readFile(statePath, 'utf8')))
    return parsed.bootId === bootId ? parsed.files : []
  } catch {
    return [] // Nothing was changed, or nobody can say what from.
  }
}

/** What a file held before any daemon of this boot wrote to it; undefined where it is to stay untouched. */
async function foundBefore(
  { path, value }: TunedFile,
  { kept, root }: { readonly kept: readonly Remembered[]; readonly root: string },
): Promise<Remembered | undefined> {
  const known = kept.find((file) => file.path === path)
  if (known) return known
  const now = await held(path, root)
  return now === undefined || now === value ? undefined : { path, value: now }
}

async function remember(
  files: readonly Remembered[],
  { statePath, bootId }: Pick<TuningOptions, 'statePath' | 'bootId'>,
): Promise<void> {
  if (files.length === 0) {
    await rm(statePath, { force: true })
    return
  }
  await writeFile(`${statePath}.new`, JSON.stringify({ bootId, files }), { mode: 0o600 })
  await rename(`${statePath}.new`, statePath)
}

async function writeTuned({ setting, path, value }: TunedFile, root: string): Promise<TuningOutcome> {
  const told = { setting, path, wanted: value }
  const before = await held(path, root)
  if (before === undefined)
    return { ...told, state: 'absent', reason: 'this kernel has no such file that could be read' }
  if (before === value) return { ...told, state: 'applied', value }
  try {
    await writeFile(join(root, path), value, { flag: 'r+' })
  } catch (error) {
    return { ...told, state: 'refused', value: before, reason: reasonOf(error) }
  }
  const now = (await held(path, root)) ?? ''
  if (now === value) return { ...told, state: 'applied', value: now }
  return { ...told, state: 'refused', value: now, reason: 'the kernel took something else' }
}

/** What could not be remembered is not written: nobody could give it back. */
async function leave(
  { setting, path, value }: TunedFile,
  { root, why }: { readonly root: string; readonly why: unknown },
): Promise<TuningOutcome> {
  const told = { setting, path, wanted: value }
  const before = await held(path, root)
  if (before === undefined)
    return { ...told, state: 'absent', reason: 'this kernel has no such file that could be read' }
  if (before === value) return { ...told, state: 'applied', value }
  const reason = `what it held before could not be noted (${codeOf(why)}), so it is left alone`
  return { ...told, state: 'refused', value: before, reason }
}

async function writeBack(files: readonly Remembered[], root: string): Promise<void> {
  for (const { path, value } of files.toReversed())
    await writeFile(join(root, path), value, { flag: 'r+' }).catch(() => {}) // Gone with its module, or read-only again.
}

async function held(path: string, root: string): Promise<string | undefined> {
  const text = await readFile(join(root, path), 'utf8').catch(() => undefined)
  return text === undefined ? undefined : heldValue(text)
}

const reasons: Readonly<Record<string, string>> = {
  EROFS: '/sys is mounted read-only',
  EACCES: 'the file is read-only',
  EPERM: 'the daemon may not write it',
  EINVAL: 'the kernel does not take this value, or not now',
  EBUSY: 'the kernel does not change it while pages are merged; write 2 to /sys/kernel/mm/ksm/run first',
  ENOENT: 'the kernel does not know this name',
}

function reasonOf(error: unknown): string {
  const code = codeOf(error)
  return reasons[code] ?? `writing it ended with ${code}`
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
