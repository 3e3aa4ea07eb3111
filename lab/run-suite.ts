/**
 * Stands in for a test file that runs in the lab: the runner of tests starts it as it starts any file, and what the file says inside,
 * results in Node's own form included, comes out of this process as if it ran here. So the lab needs no reporter of its own.
 *
 * Not here: which files run there (tools/test-rungs.ts).
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { daemonBundle } from './bundle-daemon.ts'
import { beforeEnd } from './machine/end-signals.ts'
import { LabStandsStill, watchHeartbeat } from './machine/heartbeat.ts'
import { abandonLab, openLab } from './machine/lab.ts'

/** What of the runner's environment the file has to know. */
const passedOn = /^(KVASIR_(REQUIRE|TEST|FUZZ|SLOW)\w*|NODE_TEST_\w+|CI|FORCE_COLOR|NO_COLOR)$/

const mostRepetitions = 1
const say = (line: string) => console.error(line)

/** Writes a program for each file that runs it in the lab of the checkout; the folder is removed when the programs are disposed of. */
export function writeLabPrograms(
  files: readonly string[],
  { checkout }: { readonly checkout: string },
): Disposable & { readonly programs: readonly string[] } {
  const folder = join(checkout, '.cache/lab/tests')
  rmSync(folder, { recursive: true, force: true }) // Of a run that was killed.
  mkdirSync(folder, { recursive: true })
  const self = JSON.stringify(import.meta.filename)
  const programs = files.map((file, index) => {
    const program = join(folder, `${String(index + 1).padStart(2, '0')}-in-the-lab.ts`)
    const call = `runInLab(${JSON.stringify(file)}, { checkout: ${JSON.stringify(checkout)} })`
    writeFileSync(program, `import { runInLab } from ${self}\nprocess.exitCode = await ${call}\n`)
    return program
  })
  return { programs, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) }
}

/**
 * Runs a test file in the lab with this process's options of Node, and gives its exit code. Each file has a lab of its own that has
 * just booted, whatever the file before did to its host; but for a lab that ran before, which they all use as it is.
 *
 * A lab that comes to a standstill (heartbeat.ts) has said nothing of the file, which is then run once more; so what the file says is
 * held back until it has ended.
 */
export async function runInLab(file: string, { checkout }: { readonly checkout: string }): Promise<number> {
  for (let again = 0; ; again += 1) {
    try {
      return await runOnce(file, checkout)
    } catch (error) {
      if (!(error instanceof LabStandsStill) || again >= mostRepetitions) throw error
      say(`${error.message}\nSo ${file} is run once more.`)
    }
  }
}

async function runOnce(file: string, checkout: string): Promise<number> {
  const lab = await openLab({ checkout, say, from: 'booted', outlivesUs: false })
  using _ = beforeEnd(() => abandonLab(lab), { withParent: true })
  try {
    const said: Buffer[] = []
    const running = lab.session.run({
      argv: ['node', ...process.execArgv, file],
      cwd: checkout,
      env: { ...labTestEnvironment, KVASIR_E2E_DAEMON: daemonBundle(checkout), ...environmentPassedOn() },
      onOutput: (bytes, fd) => (fd === 1 ? said.push(bytes) : process.stderr.write(bytes)),
    })
    running.catch(() => {}) // The lab is ended under it when it stands still.
    using heartbeat = watchHeartbeat(lab.place)
    const { code } = await Promise.race([running, heartbeat.lost])
    process.stdout.write(Buffer.concat(said))
    return code ?? 1
  } finally {
    await lab.leave()
  }
}

/** KVASIR_PATIENCE is how much longer than elsewhere a test waits for what has no deadline of its own. */
const labTestEnvironment = {
  KVASIR_LAB: '1',
  KVASIR_PATIENCE: '8',
  NODE_COMPILE_CACHE: '/run/kvasir-lab/compiled',
}

function environmentPassedOn(): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) =>
      value !== undefined && passedOn.test(name) ? [[name, value]] : [],
    ),
  )
}
