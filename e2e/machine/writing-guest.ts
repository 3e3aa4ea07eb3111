/**
 * A guest that writes numbered, checksummed blocks with fsync, and says each number on its console only after its block was flushed.
 *
 * Block n goes to slot n modulo `slots`. What was said must be on the disk afterwards, whatever was killed: in each slot the number that
 * was said last for it, or a later one; never half a block.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { eventually } from './eventually.ts'
import type { VmHandle } from './vm-handle.ts'

const run = promisify(execFile)
const slots = 64
const blockBytes = 512
const marker = 'flushed block'
/** The longest that a guest may take to go on after what was done to it. */
const goOnMs = 20_000
/** A file in the guest while it writes; without it, the guest ends between two blocks. */
const writing = '/tmp/writing'
/** A file in the guest once it has ended so. */
const written = '/tmp/written'

/** Begins to write to a disk, from a number on; what the guest ran before is forgotten. */
export async function beginWriting(vm: VmHandle, disk: string, from: number): Promise<void> {
  const script = [
    `n=${from}`,
    `while [ -e ${writing} ]; do`,
    'sum=$(echo "block $n" | md5sum | cut -c1-32)',
    `printf "%-${blockBytes - 1}s\\n" "block $n $sum" | dd of=/dev/${disk} bs=${blockBytes} seek=$((n % ${slots})) conv=fsync,notrunc 2>/dev/null || exit 1`,
    `echo "${marker} $n" >/dev/ttyS0`,
    'n=$((n + 1))',
    'done',
    `: >${written}`,
  ].join('\n')
  await vm.shell(`rm -f ${written}; : >${writing}; (${script}) </dev/null >/dev/null 2>&1 &`)
}

/** Ends the writing after a whole block. */
export async function endWriting(vm: VmHandle): Promise<void> {
  await vm.shell(`rm ${writing}; until [ -e ${written} ]; do sleep 0.1; done; sync`)
}

/** The numbers that the guest has said were flushed, in order. */
export async function flushedBlocks(vm: VmHandle): Promise<readonly number[]> {
  const log = await vm.serialLog()
  // The last line may be half a number.
  return [...log.matchAll(new RegExp(`${marker} (\\d+)\\r?\\n`, 'g'))].map((match) => Number(match[1]))
}

/** Waits until the guest has flushed a block beyond those so far. */
export async function untilItWritesOn(vm: VmHandle): Promise<void> {
  const before = (await flushedBlocks(vm)).at(-1) ?? -1
  const further = async () => ((await flushedBlocks(vm)).at(-1) ?? -1) > before || undefined
  await eventually(further, { withinMs: goOnMs, what: `the guest of VM ${vm.name} writes on from ${before}` })
}

/** What is wrong with the blocks of a volume that nobody has open, in sentences. */
export async function wrongBlocks(
  {
    top,
    format = 'qcow2',
    scratch,
  }: { readonly top: string; readonly format?: 'qcow2' | 'raw'; readonly scratch: string },
  flushed: readonly number[],
): Promise<readonly string[]> {
  const raw = join(scratch, 'written.raw')
  await run('qemu-img', ['convert', '-f', format, '-O', 'raw', top, raw])
  const bytes = await readFile(raw)
  await rm(raw)
  assert.ok(bytes.length >= slots * blockBytes)
  const last = new Map<number, number>()
  for (const number of flushed) last.set(number % slots, number)
  return [...last].flatMap(([slot, number]) => {
    const text = bytes.subarray(slot * blockBytes, (slot + 1) * blockBytes).toString('latin1')
    const [, found, sum] = /^block (\d+) ([0-9a-f]{32}) *\n$/.exec(text) ?? []
    if (found === undefined)
      return [`Slot ${slot} has no whole block, and block ${number} was flushed to it.`]
    if (sum !== createHash('md5').update(`block ${found}\n`).digest('hex')) return [`Slot ${slot} is torn.`]
    if (Number(found) < number)
      return [`Slot ${slot} has block ${found}, and block ${number} was flushed to it.`]
    return []
  })
}
