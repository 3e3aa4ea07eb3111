/**
 * A guest that writes numbered, checksummed blocks with fsync, one after the other with a short pause, told what to do by `kvasir vm
 * exec`. Without the pause it takes an emulated CPU for itself, and what is tested meanwhile takes two or three times as long.
 *
 * Block n goes to slot n modulo `slots`, each slot in two mebibytes of its own. So at any moment a disk holds the blocks up to one number,
 * and that number says all of its contents: `stateOf` gives it, and throws for a disk that has anything else. Of several disks each gets
 * block n in turn before any gets the next.
 */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { open } from 'node:fs/promises'
import { eventually } from '../machine/eventually.ts'
import { patient } from '../machine/patience.ts'
import type { CommandLine } from './command-line.ts'

const slots = 16
const blockBytes = 512
const stride = 2 ** 21
const sectorsEach = stride / blockBytes
const marker = 'flushed block'
const pauseSeconds = 0.05

/** What a disk must have for the blocks. */
export const blocksSpace = slots * stride

/** The writer of one VM, on its first disk or on several. */
export class GuestBlocks {
  readonly #cli: CommandLine
  readonly #vm: string
  readonly #devices: readonly string[]
  #last = -1

  constructor(cli: CommandLine, vm: string, devices: readonly string[] = ['/dev/vda']) {
    this.#cli = cli
    this.#vm = vm
    this.#devices = devices
  }

  /** Begins to write, from a number on. */
  async begin(from: number): Promise<void> {
    this.#last = from - 1
    await this.#untilItAnswers()
    const script = [
      'rm -f /run/hold /run/held /run/failed',
      '[ -p /run/silence ] || mkfifo /run/silence',
      'exec 3<>/run/silence', // Nobody writes there, so reading from it is a pause, and starts no program.
      `n=${from}`,
      `echo $((n - 1)) >/run/flushed`,
      'while :; do',
      'if [ -e /run/hold ]; then cp /run/hold /run/held; usleep 20000; continue; fi',
      'sum=$(echo "block $n" | md5sum | cut -c1-32)',
      `for disk in ${this.#devices.join(' ')}; do`,
      `if ! printf "%-${blockBytes - 1}s\\n" "block $n $sum" | dd of=$disk bs=${blockBytes} seek=$((n % ${slots} * ${sectorsEach})) conv=fsync,notrunc 2>/dev/null; then`,
      'echo $n >/run/failed; exit 1; fi; done',
      'echo $n >/run/flushed',
      `echo "${marker} $n" >/dev/ttyS0`,
      'n=$((n + 1))',
      `read -r -t ${patient(pauseSeconds)} nothing <&3`,
      'done',
    ].join('\n')
    await this.#guest(`(${script}) </dev/null >/dev/null 2>&1 &`)
  }

  /** Holds the writer, reads the disk past the guest's cache, lets it go on; answers the last number, which everything on the disk fits. */
  async check(): Promise<number> {
    return await this.#check('')
  }

  /** As `check`, once it has written on since the last time. */
  async moves(): Promise<number> {
    return await this.#check(
      `until [ "$(cat /run/flushed)" -gt ${this.#last + 1} ]; do [ ! -e /run/failed ] || break; usleep 50000; done`,
    )
  }

  async #check(first: string): Promise<number> {
    const token = randomBytes(4).toString('hex')
    const answer = await this.#guest(
      [
        first,
        `echo ${token} >/run/hold.new; mv /run/hold.new /run/hold`,
        `until [ "$(cat /run/held 2>/dev/null)" = ${token} ]; do`,
        'if [ -e /run/failed ]; then echo "writing block $(cat /run/failed) failed" >&2; exit 1; fi',
        'usleep 20000; done',
        'cat /run/flushed',
        this.#readAll(),
        'rm -f /run/hold',
      ].join('\n'),
    )
    const end = answer.indexOf('\n') + 1
    const flushed = Number(answer.slice(0, end))
    for (const state of this.#statesIn(answer.slice(end)))
      assert.equal(state, flushed, 'The disk holds what was flushed to it, up to the last block.')
    this.#last = flushed
    return flushed
  }

  /** The last number on a disk that nobody writes to. */
  async state(): Promise<number> {
    return (await this.states())[0] ?? -1
  }

  /** As `state`, of each disk. */
  async states(): Promise<readonly number[]> {
    await this.#untilItAnswers()
    return this.#statesIn(await this.#guest(this.#readAll()))
  }

  #readAll(): string {
    return ['echo 3 >/proc/sys/vm/drop_caches', ...this.#devices.map(readDisk)].join('\n')
  }

  #statesIn(text: string): readonly number[] {
    const bytes = Buffer.from(text, 'latin1')
    const each = slots * blockBytes
    return this.#devices.map((_, index) => stateOf(bytes.subarray(index * each, (index + 1) * each)))
  }

  /** The last number that the guest has said on its console. */
  async said(): Promise<number> {
    const log = await this.#cli.run('vm', 'log', this.#vm, '--bytes', '4KiB')
    // The last line may be half a number.
    return Number([...log.matchAll(new RegExp(`${marker} (\\d+)\\r?\\n`, 'g'))].at(-1)?.[1] ?? -1)
  }

  /** The agent of a guest that has just booted comes a little after its login prompt. */
  async #untilItAnswers(): Promise<void> {
    const answers = async () => (await this.#guest('echo here')).startsWith('here')
    await eventually(answers, { withinMs: 60_000, what: `the guest of VM ${this.#vm} answers` })
  }

  async #guest(script: string): Promise<string> {
    return await this.#cli.run('vm', 'exec', '--timeout', '300', this.#vm, '--', 'sh', '-c', script)
  }
}

function readDisk(device: string): string {
  return [
    'slot=0',
    `while [ $slot -lt ${slots} ]; do`,
    `dd if=${device} bs=${blockBytes} count=1 skip=$((slot * ${sectorsEach})) 2>/dev/null`,
    "slot=$((slot + 1)); done | tr '\\0' ' '",
  ].join('\n')
}

/** Asserts that the disks of a writer, each with its last number, are of one instant between two checks; a block goes to one after the other. */
export function assertOneInstant(
  states: readonly number[],
  { from, to }: { readonly from: number; readonly to: number },
): void {
  const [first = -1, last = -1] = [states[0], states.at(-1)]
  assert.ok(from <= last && first <= to, `${states.join(', ')} are within ${from} to ${to}.`)
  const inTurn = [...states].sort((one, other) => other - one)
  assert.deepEqual(inTurn, states)
  assert.ok(first - last <= 1, `${states.join(', ')} are of one instant.`)
}

/** The last number in a file that holds what a guest sees. */
export async function stateOfFile(path: string): Promise<number> {
  await using file = await open(path)
  const blocks = Buffer.alloc(slots * blockBytes)
  for (let slot = 0; slot < slots; slot += 1)
    await file.read(blocks, slot * blockBytes, blockBytes, slot * stride)
  return stateOf(blocks)
}

/** The last number of the blocks of all slots, -1 for none; throws for what no moment of the writer looked like. */
function stateOf(blocks: Buffer): number {
  assert.equal(blocks.length, slots * blockBytes)
  const found = Array.from({ length: slots }, (_, slot) =>
    numberIn(blocks.subarray(slot * blockBytes, (slot + 1) * blockBytes).toString('latin1'), slot),
  )
  const last = Math.max(...found)
  // Of each slot the largest number that is its own and not beyond the last.
  const expected = found.map((_, slot) => Math.max(-1, last - ((last - slot + slots) % slots)))
  assert.deepEqual(found, last < 0 ? found.map(() => -1) : expected, `Blocks up to ${last} and no others.`)
  return last
}

function numberIn(block: string, slot: number): number {
  if (/^[\0 ]*$/.test(block)) return -1
  const [, found, sum] = /^block (\d+) ([0-9a-f]{32}) *\n$/.exec(block) ?? []
  const isWhole = sum === createHash('md5').update(`block ${found}\n`).digest('hex')
  assert.ok(found !== undefined && isWhole, `Slot ${slot} is torn: ${JSON.stringify(block.slice(0, 60))}`)
  return Number(found)
}
