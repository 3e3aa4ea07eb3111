/**
 * What QEMU says of a qcow2 file that it does not open, in our words: what is wrong with it, and whether a repair can mend it.
 *
 * The sentences are those of block/qcow2.c (qcow2_do_open, qcow2_validate_table), block/qcow2-snapshot.c and block/qcow2-refcount.c, of
 * QEMU 7.2 to 10.0. What `qemu-img check -r` still opens of such files was tried with each.
 */
import type { Qcow2Table } from '../storage/qcow2-header.ts'
import { fileIn } from './disk-of.ts'
import type { Descriptor, EmulatorPlan } from './emulator-plan.ts'

/** What is wrong with a qcow2 file. */
export interface Qcow2Damage {
  /** The predicate of a sentence: `is marked as corrupt`. */
  readonly why: string
  /** `repair`: its tables can be mended as it lies there. `check`: a repair would give up what they pointed to. `restore`: nothing can open it. */
  readonly remedy: 'repair' | 'check' | 'restore'
}

/** A damaged file that an emulator was given. */
export interface DamagedFile {
  /** The node of its format: `disk-root`, `base1-root`. */
  readonly node: string
  /** Undefined when it is no file of the host. */
  readonly path: string | undefined
  readonly damage: Qcow2Damage
}

const table: readonly (readonly [says: RegExp, why: string, remedy: Qcow2Damage['remedy']])[] = [
  [/Image is not in qcow2 format/, 'does not begin as a qcow2 file does', 'restore'],
  [
    /qcow2 header (?:too short|exceeds)|Header extension too large|Could not read qcow2 header/,
    'has a header that is cut off or damaged',
    'restore',
  ],
  [/Unsupported qcow2 version \d+/, 'has a header of a version of qcow2 that there is not', 'restore'],
  [/Image is corrupt; cannot be opened/, 'was marked as corrupt by QEMU, which met damage in it', 'repair'],
  [/does not contain a reference count table/, 'has lost its table of reference counts', 'repair'],
  [/Snapshot table too large/, 'has a damaged table of internal snapshots', 'repair'],
  [/[Ss]napshot table|Could not read snapshots/, 'has a damaged table of internal snapshots', 'restore'],
  [
    /Reference count (?:table|entry)|refcount/,
    'has a header that says nothing sound of its table of reference counts',
    'restore',
  ],
  [/L1 table/, 'has a header that says nothing sound of its table of clusters (L1)', 'restore'],
  [
    /Unsupported (?:cluster size|encryption method|qcow2 feature)|compression type|Image is too big|Invalid backing file offset|[Bb]acking file name|'data-file' is required/,
    'has a damaged header',
    'restore',
  ],
]

/** What QEMU says of a qcow2 file, if that is what it speaks of. */
export function qcow2Damage(words: string): Qcow2Damage | undefined {
  const found = table.find(([says]) => says.test(words))
  return found && { why: found[1], remedy: found[2] }
}

/**
 * What is wrong with a file in which one of the first tables is not, which QEMU does not say. The reference counts are made anew from the
 * clusters that are in use, and disks keep no internal snapshots; without L1 nobody knows what lay where, and a repair takes that for
 * what was never written.
 */
export function damageOfTables(table: Qcow2Table): Qcow2Damage {
  switch (table) {
    case 'refcounts':
      return { why: 'ends before its table of reference counts', remedy: 'repair' }
    case 'clusters':
      return {
        why: 'ends before its table of clusters (L1), so that it would read as empty',
        remedy: 'check',
      }
    case 'snapshots':
      return { why: 'ends before its table of internal snapshots', remedy: 'repair' }
  }
}

/** The qcow2 files of a plan, each with the node of its format. */
export function qcow2FilesOf(
  plan: Pick<EmulatorPlan, 'argv' | 'descriptors'>,
): readonly { readonly node: string; readonly file: Extract<Descriptor, { readonly kind: 'file' }> }[] {
  const nodes = plan.argv.flatMap((argument) =>
    argument.startsWith('{"driver"') ? [optionsOf(argument)] : [],
  )
  const storages = new Map(nodes.map((node) => [node['node-name'], node]))
  return nodes.flatMap((node) => {
    if (node['driver'] !== 'qcow2') return []
    const file = fileIn(textIn(storages.get(node['file']), 'filename'), plan)
    return file ? [{ node: textIn(node, 'node-name'), file }] : []
  })
}

/** The file that QEMU could not open when it started, in what it wrote last; undefined when that is not why. */
export function damagedFile(
  log: string,
  plan: Pick<EmulatorPlan, 'argv' | 'descriptors'>,
): DamagedFile | undefined {
  for (const line of log.split('\n')) {
    const [, text = '', words = ''] = /-blockdev (\{.*?\}): (.+)$/.exec(line) ?? []
    const options = optionsOf(text)
    if (options['driver'] !== 'qcow2') continue
    const damage = qcow2Damage(words)
    if (damage === undefined) continue
    const storage = plan.argv
      .map((argument) => (argument.startsWith('{') ? optionsOf(argument) : {}))
      .find((one) => one['node-name'] === options['file'] && one['driver'] !== undefined)
    const file = fileIn(textIn(storage, 'filename'), plan)
    return { node: textIn(options, 'node-name'), path: file?.path, damage }
  }
  return undefined
}

function textIn(options: Readonly<Record<string, unknown>> | undefined, key: string): string {
  const value = options?.[key]
  return typeof value === 'string' ? value : ''
}

function optionsOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}
