/**
 * The words of `npm run lab`.
 *
 *     npm run lab                    a shell in the lab, built and booted if need be; the lab ends with the shell that began it
 *     npm run lab -- run COMMAND     one command line in it, with its exit code
 *     npm run lab -- start | stop    the lab in the background
 *     npm run lab -- snapshot        keeps it as it is: the next lab begins here
 *     npm run lab -- reset           back to what was kept, or to just after the boot
 *     npm run lab -- forget          forgets what was kept
 *
 * Not here: the tests in the lab (tools/test.ts).
 */
import {
  forgetKept,
  isLabRunning,
  keepLab,
  type Lab,
  type LabOptions,
  openLab,
  stopLab,
} from './machine/lab.ts'
import { placeOf } from './machine/places.ts'
import { openShell } from './shell.ts'

const usage = 'Say: npm run lab [-- run COMMAND | start | stop | snapshot | reset | forget]'

/** Does what the arguments say in the checkout's lab, and gives the exit code. */
export async function runLabCommand(
  argv: readonly string[],
  { checkout, say }: { readonly checkout: string; readonly say: (line: string) => void },
): Promise<number> {
  const [verb = 'shell', ...rest] = argv
  const open = (outlivesUs: boolean) => openLab({ checkout, say, from: 'kept', outlivesUs })
  const startedAt = performance.now()
  const done = (what: string) =>
    say(`${what} after ${((performance.now() - startedAt) / 1000).toFixed(1)} s.`)
  switch (verb) {
    case 'shell':
      return await withLab({ checkout, say, from: 'kept', outlivesUs: false }, ({ session }) =>
        openShell(session),
      )
    case 'run':
      return await withLab({ checkout, say, from: 'kept', outlivesUs: false }, (lab) =>
        runLine(lab, rest.join(' ')),
      )
    case 'start': {
      using lab = await openDetached(open)
      done(lab.wasRunning ? 'The lab ran already; it answered' : 'The lab runs')
      return 0
    }
    case 'stop': {
      const wasRunning = await isLabRunning(checkout)
      await stopLab(placeOf(checkout))
      say(wasRunning ? 'The lab has ended.' : 'No lab runs.')
      return 0
    }
    case 'snapshot': {
      using lab = await openDetached(open)
      await keepLab(lab)
      done('The lab is kept as it is, and runs on,')
      return 0
    }
    case 'reset': {
      await stopLab(placeOf(checkout))
      using _lab = await openDetached(open)
      done('The lab is where it was, and runs,')
      return 0
    }
    case 'forget': {
      using lab = await openDetached(open)
      await forgetKept(lab)
      done('What was kept is forgotten')
      return 0
    }
    default:
      say(usage)
      return 2
  }
}

async function openDetached(open: (outlivesUs: boolean) => Promise<Lab>): Promise<Lab & Disposable> {
  const lab = await open(true)
  return { ...lab, [Symbol.dispose]: () => lab.session.close() }
}

/** Does something in a lab that ends afterwards, unless it ran before. */
async function withLab(options: LabOptions, use: (lab: Lab) => Promise<number>): Promise<number> {
  const lab = await openLab(options)
  try {
    return await use(lab)
  } finally {
    lab.session.close()
    if (!lab.wasRunning) await stopLab(lab.place)
  }
}

async function runLine({ session, place }: Lab, line: string): Promise<number> {
  const { code } = await session.run({
    argv: ['/bin/bash', '-c', line],
    cwd: place.checkout,
    env: { KVASIR_LAB: '1' },
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
  })
  process.stdin.destroy()
  return code ?? 1
}
