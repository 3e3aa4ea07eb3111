/**
 * The words of `npm run lab`.
 *
 *     npm run lab                    a shell in the lab, built and booted if need be; the lab ends with the shell that began it
 *     npm run lab -- run COMMAND     one command line in it, with its exit code
 *     npm run lab -- start | stop    the lab in the background
 *     npm run lab -- snapshot        keeps the lab that runs as it is: the next one begins here, but for that of tests
 *     npm run lab -- reset           back to what was kept, or to just after the boot
 *     npm run lab -- forget          forgets what was kept
 *
 * Not here: the tests in the lab (tools/test.ts).
 */
import { beforeEnd } from './machine/end-signals.ts'
import { abandonLab, forgetKept, keepLab, type Lab, openLab, stopLab } from './machine/lab.ts'
import { openShell } from './shell.ts'

const usage = 'Say: npm run lab [-- run COMMAND | start | stop | snapshot | reset | forget]'

interface Where {
  readonly checkout: string
  readonly say: (line: string) => void
}

/** Does what the arguments say in the checkout's lab, and gives the exit code. */
export async function runLabCommand(argv: readonly string[], where: Where): Promise<number> {
  const [verb = 'shell', ...rest] = argv
  const { checkout, say } = where
  const startedAt = performance.now()
  const after = () => `after ${((performance.now() - startedAt) / 1000).toFixed(1)} s`
  switch (verb) {
    case 'shell':
      return await withLab(where, ({ session }) => openShell(session))
    case 'run':
      return await withLab(where, (lab) => runLine(lab, { line: rest.join(' '), checkout }))
    case 'start':
      say(`${(await startLab(where)) ? 'The lab ran already; it answered' : 'The lab runs'} ${after()}.`)
      return 0
    case 'stop':
      say((await stopLab(checkout, say)) ? 'The lab has ended.' : 'No lab runs.')
      return 0
    case 'snapshot':
      await keepLab(checkout, say)
      say(`The lab is kept as it is ${after()}, and runs on.`)
      return 0
    case 'reset':
      await stopLab(checkout, say)
      await startLab(where)
      say(`The lab is where it was ${after()}, and runs.`)
      return 0
    case 'forget':
      await forgetKept(checkout, say)
      say('What was kept is forgotten.')
      return 0
    default:
      say(usage)
      return 2
  }
}

/** Starts the lab in the background, and gives whether it ran already. */
async function startLab(where: Where): Promise<boolean> {
  const { leave, wasRunning } = await openLab({ ...where, from: 'kept', outlivesUs: true })
  await leave()
  return wasRunning
}

/** Does something in a lab that ends afterwards, unless it ran before. */
async function withLab(where: Where, use: (lab: Lab) => Promise<number>): Promise<number> {
  const lab = await openLab({ ...where, from: 'kept', outlivesUs: false })
  using _ = beforeEnd(() => abandonLab(lab))
  try {
    return await use(lab)
  } finally {
    await lab.leave()
  }
}

async function runLine(
  { session }: Lab,
  { line, checkout }: { readonly line: string; readonly checkout: string },
): Promise<number> {
  const { code } = await session.run({
    argv: ['/bin/bash', '-c', line],
    cwd: checkout,
    env: { KVASIR_LAB: '1' },
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
  })
  process.stdin.destroy()
  return code ?? 1
}
