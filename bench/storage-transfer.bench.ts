/**
 * `kvasir volume upload` and `download` beside `cp`: a full raw file, and one that is mostly holes. An upload is on the disk when it is
 * acknowledged and a download when the command ends, so the copies are synced too.
 */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { environmentOf } from '../e2e/machine/place.ts'
import { BenchDaemon } from './bench-daemon.ts'
import { describeMachine } from './describe-machine.ts'
import { interleave, type Measure, timed } from './interleave.ts'
import { tell } from './report.ts'

const run = promisify(execFile)
const rounds = 5
const limit = 1.2
const mib = 2 ** 20
const launcher = join(import.meta.dirname, '../kvasir')
const volume = 'peer'

await using daemon = await BenchDaemon.open()
const env = { ...process.env, ...environmentOf(daemon.place) }
const at = (name: string) => join(daemon.place.base, name)
const kvasir = (...words: readonly string[]) => run(launcher, words, { env })

await writeRandom(at('full'), { mibs: 2048, everyMib: 1 })
await writeRandom(at('holes'), { mibs: 16_384, everyMib: 32 })

const files = ['full', 'holes'] as const
const measured = await interleave(
  Object.fromEntries(
    files.flatMap((file) => [
      [
        `upload, ${file}`,
        async () => {
          const ms = await timed(() => kvasir('volume', 'upload', at(file), volume))
          await kvasir('volume', 'delete', volume)
          return ms
        },
      ],
      [`cp, ${file}`, async () => timedAndRemoved(() => copy(at(file), at('copy')))],
      ...inTurns(
        [
          `download, ${file}`,
          () => besideVolume(file, () => kvasir('volume', 'download', volume, at('copy'))),
        ],
        [`cp beside a volume, ${file}`, () => besideVolume(file, () => copy(at(file), at('copy')))],
      ),
    ]),
  ),
  { rounds },
)

tell({
  name: 'storage-transfer',
  machine: await describeMachine(daemon.client),
  table: {
    head: ['ms', 'median', 'p90', 'least', 'times cp'],
    rows: files.flatMap((file) =>
      ['upload', 'cp', 'download', 'cp beside a volume'].map((what) => {
        const { median, p90, least } = measured.of(`${what}, ${file}`)
        return [`${what}, ${file}`, median, p90, least, timesCopy(what, file)]
      }),
    ),
  },
  targets: files.flatMap((file) =>
    ['upload', 'download'].map((what) => ({
      what: `${what}, ${file}, times cp`,
      measured: timesCopy(what, file),
      limit,
      wanted: 'at most' as const,
    })),
  ),
  notes: [
    `${rounds} rounds in turn, the commands from their exec to their end`,
    'full: 2 GiB of noise; holes: 16 GiB with 512 MiB of noise in them',
  ],
  details: measured,
})

/**
 * Measures two peers one right after the other, and in each round the other one first. On a virtual machine whose host takes free memory
 * back, who writes more than was in the page cache lately waits for memory page by page (0.25 s for 64 MiB here instead of 0.02 s), which
 * falls on whoever comes first.
 */
function inTurns(
  [name, one]: readonly [string, Measure],
  [otherName, other]: readonly [string, Measure],
): readonly (readonly [string, Measure])[] {
  let round = 0
  let ofOther = 0
  const both = async () => {
    const isFirst = round++ % 2 === 0
    if (!isFirst) ofOther = await other()
    const ms = await one()
    if (isFirst) ofOther = await other()
    return ms
  }
  return [
    [name, both],
    [otherName, async () => ofOther],
  ]
}

function timesCopy(what: string, file: string): number {
  const peer = ['upload', 'cp'].includes(what) ? 'cp' : 'cp beside a volume'
  return measured.ratio(`${what}, ${file}`, `${peer}, ${file}`)
}

async function copy(from: string, to: string): Promise<void> {
  await run('cp', ['--sparse=auto', from, to])
  await run('sync', ['--data', to])
}

/** Beside a volume with the same contents, which an upload has just written. */
async function besideVolume(file: string, work: () => Promise<unknown>): Promise<number> {
  await kvasir('volume', 'upload', at(file), volume)
  const ms = await timedAndRemoved(work)
  await kvasir('volume', 'delete', volume)
  return ms
}

async function timedAndRemoved(work: () => Promise<unknown>): Promise<number> {
  const ms = await timed(work)
  rmSync(at('copy'))
  return ms
}

/** One MiB of noise in so many. */
async function writeRandom(
  path: string,
  { mibs, everyMib }: { readonly mibs: number; readonly everyMib: number },
): Promise<void> {
  await using file = await open(path, 'w')
  for (let done = 0; done < mibs; done += everyMib) await file.write(randomBytes(mib), 0, mib, done * mib)
  await file.truncate(mibs * mib)
  await file.sync()
}
