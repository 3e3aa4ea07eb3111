/** Real programs with a socket, QEMU above all, for tests. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const startTimeoutMs = 10_000

/** A running program with a socket; disposing it kills the program and removes the socket. */
export interface RunningProgram extends AsyncDisposable {
  readonly path: string
  readonly process: ChildProcess
}

/** Starts a stopped QEMU, of machine `none` unless `hardware` says otherwise, and waits for its monitor. */
export async function startEmulator(
  hardware: readonly string[] = ['-machine', 'none'],
): Promise<RunningProgram> {
  return await startProgram((folder) => {
    const argv = [...hardware, '-S', '-no-shutdown', '-nodefaults', '-display', 'none']
    return ['qemu-system-x86_64', ...argv, '-qmp', `unix:${join(folder, 'socket')},server=on,wait=off`]
  })
}

/** Starts a program given by its argv that listens on FOLDER/socket. */
export async function startProgram(argvFor: (folder: string) => readonly string[]): Promise<RunningProgram> {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-qmp-'))
  const [program = '', ...argv] = argvFor(folder)
  const child = spawn(program, argv, { stdio: ['ignore', 'ignore', 'inherit'] })
  const path = join(folder, 'socket')
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null && child.kill('SIGKILL'))
      await once(child, 'exit')
    await rm(folder, { recursive: true, force: true })
  }
  const deadline = performance.now() + startTimeoutMs
  while (!(await isListening(path))) {
    if (performance.now() > deadline || child.exitCode !== null) {
      await stop()
      throw new Error(`${program} does not listen at ${path}, so nothing can be tested with it.`)
    }
    await delay(5)
  }
  return { path, process: child, [Symbol.asyncDispose]: stop }
}

/** A socket's path exists a moment before it listens; the kernel's flag 0x10000 says when it does. */
async function isListening(path: string): Promise<boolean> {
  const sockets = (await readFile('/proc/net/unix', 'utf8')).split('\n')
  return sockets.some((line) => line.endsWith(` ${path}`) && line.split(/\s+/)[3] === '00010000')
}
