/**
 * Stands in for a test file that runs in the lab: the runner of tests starts it as it starts any file, and what the file says inside,
 * results in Node's own form included, comes out of this process as if it ran here. So the lab needs no reporter of its own.
 *
 * Not here: which files run there (tools/test-rungs.ts).
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import type { Threads } from './machine/command-line.ts'
import { lastWords } from './machine/emulator.ts'
import { beforeEnd } from './machine/end-signals.ts'
import { tryLockFile } from './machine/file-lock.ts'
import { LabStandsStill, watchHeartbeat } from './machine/heartbeat.ts'
import { abandonLab, type Lab, openLab } from './machine/lab.ts'
import { placeOf } from './machine/places.ts'
import { isTooLate } from './suite-times.ts'

/** What of the runner's environment the file has to know. */
const passedOn = /^(KVASIR_(REQUIRE|TEST|FUZZ|SLOW|E2E)\w*|NODE_TEST_\w+|CI|FORCE_COLOR|NO_COLOR)$/

/**
 * How the lab's CPUs are emulated for a file, and again when the lab failed under it. The last way knows no races between the threads of
 * the emulator, and takes twice as long.
 */
const attempts: readonly Threads[] = ['multi', 'multi', 'single']
/** Its sockets close when it ends, a little before its parent hears of it. */
const endToldMs = 30_000
const takeAgainMs = 500
const say = (line: string) => console.error(line)

/** Writes a program for each file that runs it in the lab of the checkout; the folder is removed when the programs are disposed of. */
export function writeLabPrograms(
  files: readonly string[],
  { checkout, labs }: { readonly checkout: string; readonly labs: number },
): Disposable & { readonly programs: readonly string[] } {
  const folder = join(checkout, '.cache/lab/tests')
  rmSync(folder, { recursive: true, force: true }) // Of a run that was killed.
  mkdirSync(folder, { recursive: true })
  const self = JSON.stringify(import.meta.filename)
  const programs = files.map((file, index) => {
    const program = join(folder, `${String(index + 1).padStart(2, '0')}-in-the-lab.ts`)
    const call = `runInLab(${JSON.stringify(file)}, { checkout: ${JSON.stringify(checkout)}, labs: ${labs} })`
    writeFileSync(program, `import { runInLab } from ${self}\nprocess.exitCode = await ${call}\n`)
    return program
  })
  return { programs, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) }
}

/**
 * Runs a test file in the lab with this process's options of Node, and gives its exit code. Each file has a lab of its own that has
 * just booted, whatever the file before did to its host; but for a lab that ran before, which they all use as it is.
 *
 * A lab that comes to a standstill (heartbeat.ts), or whose emulator ends, has said nothing of the file, which is then run again; so what
 * the file says is held back until it has ended.
 */
export async function runInLab(
  file: string,
  { checkout, labs }: { readonly checkout: string; readonly labs: number },
): Promise<number> {
  if (isTooLate(file, process.env)) {
    test(basename(file), { skip: 'it could not end by KVASIR_LAB_UNTIL' })
    return 0
  }
  await using free = await takeLab(checkout, labs)
  let failure: Error | undefined
  for (const threads of attempts) {
    if (failure !== undefined) say(`${failure.message}\nSo ${file} is run again.`)
    try {
      return await runOnce(file, { checkout, number: free.number, threads })
    } catch (error) {
      if (!(error instanceof LabStandsStill || error instanceof LabEnded)) throw error
      failure = error
    }
  }
  throw failure
}

/** Takes one of the labs in which no other file runs, and waits until there is one. */
async function takeLab(
  checkout: string,
  labs: number,
): Promise<AsyncDisposable & { readonly number: number }> {
  for (; ; await pause(takeAgainMs))
    for (let number = 0; number < labs; number++) {
      const lock = await tryLockFile(placeOf(checkout, number).fileLock, 'exclusive')
      if (lock !== undefined) return { number, [Symbol.asyncDispose]: () => lock[Symbol.asyncDispose]() }
    }
}

/** A lab that ended while a file ran in it. */
class LabEnded extends Error {}

async function runOnce(
  file: string,
  { checkout, ...options }: { readonly checkout: string; readonly number: number; readonly threads: Threads },
): Promise<number> {
  const lab = await openLab({ checkout, say, from: 'booted', outlivesUs: false, ...options })
  using _ = beforeEnd(() => abandonLab(lab), { withParent: true })
  try {
    const said: Buffer[] = []
    const running = lab.session.run({
      argv: ['node', ...process.execArgv, file],
      cwd: checkout,
      env: { ...labTestEnvironment, ...environmentPassedOn() },
      onOutput: (bytes, fd) => (fd === 1 ? said.push(bytes) : process.stderr.write(bytes)),
    })
    using heartbeat = watchHeartbeat(lab.place)
    const { code } = await Promise.race([
      running.catch((error: unknown) => explainEnd(lab, error)),
      heartbeat.lost,
    ])
    process.stdout.write(Buffer.concat(said))
    return code ?? 1
  } finally {
    await lab.leave()
  }
}

/** Throws what a program in the lab failed with: that the lab's emulator ended, and how, when it did. */
async function explainEnd({ ended, place }: Lab, error: unknown): Promise<never> {
  const how = await Promise.race([ended, pause(endToldMs, undefined, { ref: false })])
  if (how === undefined) throw error
  throw new LabEnded(`The emulator of the lab ended ${how}. The last words:\n${await lastWords(place)}`, {
    cause: error,
  })
}

/** KVASIR_PATIENCE is how much longer than elsewhere a test waits for what has no deadline of its own. */
const labTestEnvironment = {
  KVASIR_LAB: '1',
  KVASIR_PATIENCE: '4',
  NODE_COMPILE_CACHE: '/run/kvasir-lab/compiled',
  XDG_CACHE_HOME: '/run/kvasir-lab/compiled', // The command line keeps what it compiled there, and the lab forgets what is elsewhere.
}

function environmentPassedOn(): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) =>
      value !== undefined && passedOn.test(name) ? [[name, value]] : [],
    ),
  )
}
