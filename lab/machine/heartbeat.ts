/**
 * Tells when a lab has come to a standstill: it is asked now and then to run a program that does nothing.
 *
 * Seen once in some hours of tests: with a thread for each CPU, QEMU 10.0 lost something that the kernel in the lab waited for; it went on
 * answering, but could begin no process any more ("task blocked for more than 120 seconds"), with all its CPUs idle.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { AgentSession } from './agent-session.ts'
import { instructionPointers, lastWords } from './emulator.ts'
import type { Place } from './places.ts'

/** Seldom: a process that begins takes tenths of a second of a CPU that a test may be measuring. */
const everyMs = 60_000
const answerTimeoutMs = 120_000

/** A lab that begins no process any more. */
export class LabStandsStill extends Error {}

/** Watches a lab until disposed of; `lost` is rejected with `LabStandsStill`, and never resolved. */
export function watchHeartbeat(place: Place): Disposable & { readonly lost: Promise<never> } {
  const ended = new AbortController()
  const { promise, reject } = Promise.withResolvers<never>()
  const watch = async () => {
    for (;;) {
      await pause(everyMs, undefined, { signal: ended.signal })
      if (await beats(place)) continue
      ended.signal.throwIfAborted()
      const [cpus, words] = await Promise.all([instructionPointers(place), lastWords(place)])
      reject(
        new LabStandsStill(
          `The lab began no process in ${answerTimeoutMs / 1000} s. Its CPUs are at: ${cpus}\nThe last words:\n${words}`,
        ),
      )
      return
    }
  }
  watch().catch(() => {}) // Disposed of.
  promise.catch(() => {}) // Nobody may be waiting.
  return { lost: promise, [Symbol.dispose]: () => ended.abort() }
}

async function beats(place: Place): Promise<boolean> {
  let session: AgentSession | undefined
  const ask = async () => {
    session = await AgentSession.open(place.agentSockets, { timeoutMs: answerTimeoutMs })
    const { code } = await session.run({ argv: ['/bin/true'] })
    return code === 0
  }
  try {
    return await Promise.race([ask(), pause(answerTimeoutMs, false, { ref: false })])
  } catch {
    return false
  } finally {
    session?.close()
  }
}
