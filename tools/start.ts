/**
 * `npm start`: from nothing to a running VM. Installs the Debian packages that are missing, starts the daemon or finds the one that
 * serves, builds the image `tiny`, boots VM `demo` or finds it running, and shows its console.
 *
 *     npm start              goes on serving until Ctrl-C; the VM outlives the daemon
 *     npm start -- --once    exits 0 once the guest is up; daemon and VM go on
 *
 * Invariant: a daemon that this process did not start is never ended by it. Roots are set by KVASIR_STATE_DIR, KVASIR_RUNTIME_DIR
 * and KVASIR_LOG_DIR.
 */
import { parseArgs, stripVTControlCharacters } from 'node:util'
import { endpoints, KvasirError, type Vm } from '@kvasir/contract'
import { bundleCli } from './bundle-cli.ts'
import { bundleDaemon } from './bundle-daemon.ts'
import { ensureDebianPackages, PackagesMissing } from './debian-packages.ts'
import { attach, type ConsoleEnd, openConsole, showUntilLogin } from './first-run/console.ts'
import { defaultSocketPath, findOrStartDaemon, type ServingDaemon, StartRefused } from './first-run/daemon.ts'
import { demoName, ensureDemoRuns, ensureTinyImage } from './first-run/demo-vm.ts'
import { createProgress } from './first-run/progress.ts'

const loginTimeoutMs = 300_000
const keepAliveMs = 60_000

/** A control sequence whose end has not come yet. */
// oxlint-disable-next-line no-control-regex -- control sequences are what it is about
const unfinishedSequence = /\x1b(?:\[[0-9;?]*)?$/

const isAtTerminal = process.stdin.isTTY && process.stdout.isTTY
const say = (line: string): void => console.log(line)
const writeConsole = (bytes: Uint8Array): void => {
  process.stdout.write(bytes)
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { once: { type: 'boolean', default: false } } })
  const interruption = Promise.withResolvers<NodeJS.Signals>()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interruption.resolve)

  await ensureDebianPackages(['run', 'images'], say)
  await Promise.all([bundleDaemon(), bundleCli()]) // The second for ./kvasir, which people type next.
  const daemon = await findOrStartDaemon(say)
  const interrupted = interruption.promise.then(() => true)
  try {
    const shown = showGuest(daemon, values.once)
    const stopped = await Promise.race([shown.then(() => false), interrupted, daemon.ended.then(() => true)])
    if (values.once && !stopped) {
      daemon.release()
      daemon.client.close()
      return
    }
    if (!stopped && !daemon.isOurs && isAtTerminal) return
    if (!stopped) await until(Promise.race([interrupted, daemon.ended]))
    shown.catch(() => {}) // Whatever it was doing ends with the daemon.
    await finish(daemon)
  } catch (error) {
    await daemon.stop()
    throw error
  }
}

/** Waits, and keeps the process alive meanwhile: another's daemon does not. */
async function until(event: Promise<unknown>): Promise<void> {
  const timer = setInterval(() => {}, keepAliveMs)
  await event.finally(() => clearInterval(timer))
}

/** Brings the guest up, shows its console, and says that it is ready. */
async function showGuest(daemon: ServingDaemon, once: boolean): Promise<void> {
  const { client } = daemon
  await ensureTinyImage(client, createProgress(process.stdout))
  const vm = await ensureDemoRuns(client, say)
  const end = isAtTerminal && !once ? await showInteractively(daemon) : await showText(daemon)
  if (end === 'timeout') {
    throw new StartRefused(
      `VM ${demoName} runs, but its guest did not ask to log in within ${loginTimeoutMs / 1000} s. Look with: ./kvasir vm log ${demoName}`,
    )
  }
  const now = await client.call(endpoints.getVm, { params: { name: demoName } }).catch(() => vm)
  const isUp = now.status.state === 'running'
  say(
    isUp
      ? `\nready: ${describe(now, daemon)}`
      : `\nVM ${demoName} is ${now.status.state}: ${now.status.reason}.`,
  )
  say(whatToTry(daemon, once))
}

async function showInteractively(daemon: ServingDaemon): Promise<ConsoleEnd> {
  const socket = await openConsole(daemon.client, { name: demoName, mode: 'write' }).catch(
    (error: unknown) => {
      if (error instanceof KvasirError && error.code === 'console-taken') return undefined
      throw error
    },
  )
  if (socket === undefined) {
    say(`\nSomebody else writes to the console of ${demoName}, so it is only shown.`)
    return showText(daemon)
  }
  say(`\nThe console of ${demoName}; Ctrl-] leaves it, and the VM runs on.\n`)
  const end = await attach(socket, { input: process.stdin, write: writeConsole })
  say(end === 'detached' ? '\n' : '\nThe console has ended.')
  return end
}

async function showText({ client }: ServingDaemon): Promise<ConsoleEnd> {
  const socket = await openConsole(client, { name: demoName, mode: 'read' })
  say(`\nThe console of ${demoName}:\n`)
  // Whoever reads this is no terminal: questions to one, such as where its cursor is, are left out.
  const decoder = new TextDecoder()
  let held = ''
  const write = (bytes: Uint8Array) => {
    const text = held + decoder.decode(bytes, { stream: true })
    held = unfinishedSequence.exec(text)?.[0] ?? ''
    process.stdout.write(stripVTControlCharacters(text.slice(0, text.length - held.length)))
  }
  return showUntilLogin(socket, { write, timeoutMs: loginTimeoutMs })
}

function describe(vm: Vm, { status }: ServingDaemon): string {
  const { accelerator, acceleratorReason } = vm.status
  const under = accelerator === undefined ? '' : ` under ${accelerator.toUpperCase()}`
  const why = acceleratorReason === undefined ? '' : ` (${acceleratorReason})`
  return `VM ${vm.name} runs${under}${why}; the daemon is pid ${status.pid}`
}

function whatToTry({ status, isOurs, socketPath }: ServingDaemon, once: boolean): string {
  const isElsewhere = socketPath !== defaultSocketPath && process.env['KVASIR_URL'] === undefined
  const where = isElsewhere ? `  export KVASIR_URL=unix://${socketPath}\n` : ''
  const ending =
    isOurs && !once
      ? 'Ctrl-C ends the daemon; the VM runs on, and the next npm start finds it.'
      : `The daemon goes on; it ends with: kill ${status.pid}. The VM runs on all the same.`
  return `
What to try next:
${where}  ./kvasir vm list                        what there is
  ./kvasir vm console ${demoName}                the console again; Ctrl-] leaves it
  ./kvasir vm exec ${demoName} -- uname -a       a command in the guest, by its agent
  ./kvasir vm show ${demoName} -o yaml           its spec and its status
  ./kvasir vm shutdown ${demoName}               ask the guest to shut down
  ./kvasir image build debian-13          a whole Debian
  ./kvasir --help                         the rest

${ending}`
}

/** After Ctrl-C, or after the daemon has ended by itself. */
async function finish(daemon: ServingDaemon): Promise<void> {
  const running = await daemon.client.call(endpoints.getStatus).then(
    (status) => status.vms['running'] ?? 0,
    () => undefined,
  )
  daemon.client.close()
  if (!daemon.isOurs) {
    say(`\nThe daemon (pid ${daemon.status.pid}) was started elsewhere, so it goes on.`)
    return
  }
  if (running === undefined) {
    throw new StartRefused(
      'The daemon has ended by itself; VMs run on. Its log is the place to look; npm start adopts them again.',
    )
  }
  await daemon.stop()
  if (running === 0) say('\nThe daemon has ended.')
  else if (running === 1) say('\nThe daemon has ended; 1 VM runs on without it. npm start finds it again.')
  else say(`\nThe daemon has ended; ${running} VMs run on without it. npm start finds them again.`)
}

try {
  await main()
  process.exit(0) // A terminal or a released daemon may still be held open.
} catch (error) {
  if (!(error instanceof StartRefused || error instanceof PackagesMissing || error instanceof KvasirError))
    throw error
  console.error(`\n${error.message}`)
  process.exit(1)
}
