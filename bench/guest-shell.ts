/**
 * Guests of the same kernel that run commands, whoever started them: by Kvasir, by hand, by libvirt. Commands go through the guest
 * agent everywhere, so that they reach all alike.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { endpoints } from '@kvasir/contract'
import { eventually } from '../e2e/machine/eventually.ts'
import type { BenchDaemon } from './bench-daemon.ts'
import type { Libvirt } from './private-libvirt.ts'

/** A guest that has booted. */
export interface BenchGuest extends AsyncDisposable {
  /** Runs a line of shell and gives what it prints; throws when it fails. */
  shell(line: string): Promise<string>
}

/** Sends one command to a guest's agent; answers its return. */
export type AskAgent = (command: string, args: object) => Promise<unknown>

interface ExecStatus {
  readonly exited: boolean
  readonly exitcode?: number
  readonly 'out-data'?: string
  readonly 'err-data'?: string
}

const bootMs = 60_000
const shellMs = 120_000
const askEveryMs = 20
/** A line that is waited for is not asked about before it took this many times as long as the last time. */
const expectedTimes = 1.2

/** Runs a line of shell by an agent that is asked directly. */
export async function shellBy(ask: AskAgent, line: string): Promise<string> {
  const started = await ask('guest-exec', { path: '/bin/sh', arg: ['-c', line], 'capture-output': true })
  const { pid } = started as { readonly pid: number } // The agent's answer to guest-exec.
  const deadline = performance.now() + shellMs
  while (performance.now() < deadline) {
    const status = (await ask('guest-exec-status', { pid })) as ExecStatus
    if (status.exited) {
      const [out, err] = [status['out-data'], status['err-data']].map((data) =>
        Buffer.from(data ?? '', 'base64').toString(),
      )
      if (status.exitcode !== 0) throw new Error(`${line} ended with ${status.exitcode}: ${err}`)
      return out?.trimEnd() ?? ''
    }
    await pause(askEveryMs)
  }
  throw new Error(`${line} has not ended after ${shellMs / 1000} s.`)
}

/** Waits until a guest's agent answers. */
export async function untilBooted(guest: Pick<BenchGuest, 'shell'>): Promise<void> {
  await eventually(() => guest.shell('true').then(() => true), { withinMs: bootMs, what: 'the guest boots' })
}

/** A VM of a daemon as a guest of a benchmark; it runs already, and is powered off in the end. */
export function guestOf(daemon: BenchDaemon, name: string): BenchGuest {
  return {
    async shell(line) {
      const { stdout, stderr, exitCode } = await daemon.client.call(endpoints.execVm, {
        params: { name },
        body: { command: ['/bin/sh', '-c', line] },
        timeoutMs: shellMs,
      })
      if (exitCode !== 0) throw new Error(`${line} ended with ${exitCode}: ${stderr}`)
      return stdout.trimEnd()
    },
    [Symbol.asyncDispose]: () => daemon.powerOffVm(name),
  }
}

/** A domain of libvirt as a guest; it runs already, and is destroyed in the end. */
export function domainGuest(libvirt: Libvirt, name: string): BenchGuest {
  const ask = async (execute: string, args: object) => {
    const answer = await libvirt.virsh(
      'qemu-agent-command',
      name,
      JSON.stringify({ execute, arguments: args }),
    )
    return (JSON.parse(answer) as { readonly return: unknown }).return // libvirt passes on what the agent says.
  }
  return {
    shell: (line) => shellBy(ask, line),
    async [Symbol.asyncDispose]() {
      await libvirt.virsh('destroy', name)
    },
  }
}

/** How long each line took in a guest when it was last run, in milliseconds. */
export type LastTimes = Map<string, number>

/**
 * How long a line of shell takes by the guest's own clock, in milliseconds. Nobody asks the guest's agent meanwhile, since a guest of one
 * CPU works for the answer: the line runs by itself, and is asked about when it took that long before.
 */
export async function timedInGuest(guest: BenchGuest, line: string, last: LastTimes): Promise<number> {
  const clock = 'grep -m 1 "now at" /proc/timer_list'
  const times = '/tmp/timed'
  const unfinished = `${times}.new`
  const timed = `{ ${clock}; (${line}) >/dev/null 2>&1; echo "ended with $?"; ${clock}; } >${unfinished}; mv ${unfinished} ${times}`
  await guest.shell(`rm -f ${times}; (${timed}) </dev/null >/dev/null 2>&1 &`)
  await pause((last.get(line) ?? 0) * expectedTimes)
  const said = await eventually(
    async () => (await guest.shell(`cat ${times} 2>/dev/null || true`)) || undefined,
    {
      withinMs: shellMs,
      everyMs: askEveryMs,
      what: `${line} has ended`,
    },
  )
  const [from, to] = [...said.matchAll(/now at (\d+) nsecs/g)].map((match) => Number(match[1]))
  if (from === undefined || to === undefined || !said.includes('ended with 0'))
    throw new Error(`${line} failed, or the guest's clock did: ${said}`)
  const ms = (to - from) / 1e6
  last.set(line, ms)
  return ms
}
