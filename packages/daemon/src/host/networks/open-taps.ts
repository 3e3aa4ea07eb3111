/**
 * Opens the taps of a VM that starts: a process (open-taps.pl) makes them and holds them, and the launcher of the emulator takes them from
 * there. Nothing has to be undone, by us or by a daemon that follows: a tap ends when nobody has it open any more. Macvtaps it finds made
 * (macvtaps.ts).
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { KvasirError } from '@kvasir/contract'
import { COMMAND_PATH } from '@kvasir/linux'
import { freshPortLines } from '../../model/network/port-vlans.ts'
import type { TapPlan } from '../../model/qemu/emulator-plan.ts'

const program = join(import.meta.dirname, 'open-taps.pl')
const openTimeoutMs = 10_000
const answerLimit = 4096
/** How long a tap of a former attempt may take to end. */
const freeTimeoutMs = 3_000
const lookMs = 50

/** Open taps in another process, for as long as they are not released. */
export interface OpenTaps {
  readonly pid: number
  /** Of each tap, the numbers of its queues there. */
  readonly queues: ReadonlyMap<string, readonly number[]>
  release(): void
}

/** Makes the taps and puts each on its bridge. `host-failed` with what the kernel said, and what follows from it. */
async function openTaps(taps: readonly TapPlan[], consequence = 'the VM is not started'): Promise<OpenTaps> {
  const words = taps.flatMap(({ tap, bridge, macvtap, networkMtu, mtu, queues, vlans }) => {
    const lines = vlans === undefined ? [] : freshPortLines(tap, vlans)
    return [
      tap,
      macvtap ? '' : bridge,
      String(networkMtu),
      String(mtu),
      String(queues),
      lines.map((line) => `${line}\n`).join(''),
    ]
  })
  const child = spawn('perl', [program, process.arch, ...words], {
    detached: true,
    cwd: '/',
    env: { PATH: COMMAND_PATH, LC_ALL: 'C' },
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  child.stdin.on('error', () => {}) // It has ended.
  const release = () => child.stdin.destroy()
  try {
    const numbers = numbersOf(await answerOf(child), consequence)
    if (child.pid === undefined || numbers.length !== taps.reduce((sum, { queues }) => sum + queues, 0))
      throw new TypeError('The taps are not as many as were asked for.')
    const queues = new Map<string, readonly number[]>()
    for (const { tap, queues: count } of taps) queues.set(tap, numbers.splice(0, count))
    return { pid: child.pid, queues, release }
  } catch (error) {
    release()
    throw error
  }
}

/** The tap of a former attempt ends in its own time once nobody has it, with the daemon that died, or in QEMU; a macvtap when its network is looked at. */
export async function openTapsWhenFree(
  taps: readonly TapPlan[],
  consequence?: string,
): ReturnType<typeof openTaps> {
  const deadline = performance.now() + freeTimeoutMs
  for (;;) {
    try {
      return await openTaps(taps, consequence)
    } catch (error) {
      const isBusy = error instanceof KvasirError && /cannot be made .*busy/.test(error.message)
      if (!isBusy || performance.now() > deadline) throw error
      await pause(lookMs)
    }
  }
}

/** The first line that a program says which holds descriptors for others; nothing where it says none in time. */
export async function answerOf(child: ReturnType<typeof spawn>): Promise<string> {
  let answer = ''
  const { stdout } = child
  if (!stdout) throw new TypeError('There is nothing to read its answer from.')
  const answered = new Promise<void>((resolve) => {
    stdout.on('data', (chunk: Buffer) => {
      if (answer.length < answerLimit) answer += chunk.toString('latin1')
      if (answer.includes('\n')) resolve()
    })
    stdout.once('close', () => resolve())
    child.once('error', () => resolve())
  })
  await Promise.race([
    answered,
    once(child, 'kvasir-never', { signal: AbortSignal.timeout(openTimeoutMs) }).catch(() => {}),
  ])
  if (!answer.includes('\n')) child.kill('SIGKILL')
  stdout.destroy()
  return answer.split('\n')[0] ?? ''
}

function numbersOf(answer: string, consequence: string): number[] {
  if (/^\d+( \d+)*$/.test(answer)) return answer.split(' ').map(Number)
  const why = /^refused: (.*)$/.exec(answer)?.[1] ?? 'perl did not answer'
  throw new KvasirError('host-failed', `A NIC has no network (${why}), so ${consequence}.`)
}
