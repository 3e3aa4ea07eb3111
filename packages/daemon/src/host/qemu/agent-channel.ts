/**
 * The guest agent behind a VM's channel. Connected when it is first needed, since an agent that is not there costs a time-out; whether
 * it is there, QEMU says (VSERPORT_CHANGE, and the channel's `frontend-open` when the daemon comes back).
 */
import { KvasirError } from '@kvasir/contract'
import { GuestAgentClient, maxAgentLineBytes, QmpClosedError, QmpError, QmpProtocolError } from '@kvasir/qmp'
import { guestList, guestText } from '../../model/vm/guest-words.ts'
import type { GuestReport } from '../../ports/emulator-memory.ts'
import type { AgentChannel, AgentExecResult } from '../../ports/emulators.ts'
import { readMemInfo, reportOfMemInfo } from './guest-memory.ts'

const connectTimeoutMs = 3_000
const commandTimeoutMs = 5_000
/** A guest under TCG takes seconds to switch a vCPU on. */
/** A guest writes what it holds back before its file systems stand. */
const freezeTimeoutMs = 20_000
const vcpuTimeoutMs = 30_000
const pollMs = 100
/** The agent answers with at most 16 MiB of stdout and of stderr, in base64. */
const maxLeftovers = 48
/** What is kept of a command's output; the agent itself stops at 16 MiB. */
const maxOutputBytes = 4 * 1024 * 1024

export class QemuAgentChannel implements AgentChannel {
  readonly #path: string
  #client: Promise<GuestAgentClient> | undefined
  #connected = false
  /** How often the guest has closed its end. */
  #departures = 0

  constructor(path: string) {
    this.#path = path
  }

  isConnected(): boolean {
    return this.#connected
  }

  /** What QEMU says about the guest's end of the channel. */
  noteConnected(connected: boolean): void {
    this.#connected = connected
    if (connected) return
    this.#departures++
    this.release()
  }

  async shutdown(mode: 'powerdown' | 'reboot'): Promise<void> {
    const departures = this.#departures
    try {
      await this.#ask((agent) => agent.execute('guest-shutdown', { mode }, { timeoutMs: commandTimeoutMs }))
    } catch (error) {
      // A guest that goes down at once ends its agent before the silence that means yes is over.
      if (this.#departures === departures) throw error
    }
  }

  async exec(request: Parameters<AgentChannel['exec']>[0]): Promise<AgentExecResult> {
    const [path = '', ...arg] = request.command
    const input =
      request.input === undefined ? {} : { 'input-data': Buffer.from(request.input).toString('base64') }
    const { pid } = await this.#ask((agent) =>
      agent.execute(
        'guest-exec',
        { path, arg, ...input, 'capture-output': true },
        { signal: request.signal },
      ),
    ).catch((error: unknown) => {
      throw refusedExec(path, error)
    })
    const deadline = performance.now() + request.timeoutMs
    for (;;) {
      const status = await this.#ask((agent) =>
        agent.execute('guest-exec-status', { pid }, { signal: request.signal }),
      ).catch((error: unknown) => {
        throw lostOutput(path, error)
      })
      if (status.exited) return execResult(status)
      if (performance.now() > deadline)
        throw new KvasirError(
          'deadline-exceeded',
          `${path} did not end within ${request.timeoutMs / 1000} s; it goes on inside the guest as process ${pid}.`,
        )
      await sleep(pollMs, request.signal)
    }
  }

  async identity(): ReturnType<AgentChannel['identity']> {
    const options = { timeoutMs: commandTimeoutMs }
    const host = await this.#ask((agent) => agent.execute('guest-get-host-name', undefined, options))
    const os = await this.#ask((agent) => agent.execute('guest-get-osinfo', undefined, options)).catch(
      () => undefined,
    )
    const links = await this.#ask((agent) =>
      agent.execute('guest-network-get-interfaces', undefined, options),
    )
    return {
      hostname: guestText(host['host-name']),
      os: guestText(os?.['pretty-name'] ?? os?.name ?? 'unknown'),
      interfaces: guestList(links.filter((link) => link.name !== 'lo')).map((link) => ({
        name: guestText(link.name),
        mac: link['hardware-address'] === undefined ? undefined : guestText(link['hardware-address']),
        addresses: guestList(link['ip-addresses'] ?? []).map((entry) =>
          guestText(`${entry['ip-address']}/${entry.prefix}`),
        ),
      })),
    }
  }

  async memory(): Promise<GuestReport | undefined> {
    const text = await this.#ask((agent) => readMemInfo(agent)).catch(() => undefined) // An agent may be forbidden to read files.
    return text === undefined ? undefined : { at: new Date().toISOString(), ...reportOfMemInfo(text) }
  }

  async freeze(): Promise<number> {
    const options = { timeoutMs: freezeTimeoutMs }
    return await this.#ask((agent) => agent.execute('guest-fsfreeze-freeze', undefined, options))
  }

  async thaw(): Promise<void> {
    await this.#ask((agent) =>
      agent.execute('guest-fsfreeze-thaw', undefined, { timeoutMs: freezeTimeoutMs }),
    )
  }

  /** A vCPU that has come is known to the guest and not used, unless a rule of the guest's own switches it on. */
  async useAllVcpus(): Promise<number> {
    const options = { timeoutMs: vcpuTimeoutMs }
    const list = () => this.#ask((agent) => agent.execute('guest-get-vcpus', undefined, options))
    const idle = (await list()).filter((vcpu) => !vcpu.online)
    if (idle.length > 0) {
      const vcpus = idle.map((vcpu) => ({ 'logical-id': vcpu['logical-id'], online: true }))
      await this.#ask((agent) => agent.execute('guest-set-vcpus', { vcpus }, options))
    }
    return (await list()).filter((vcpu) => vcpu.online).length
  }

  /** Closes the connection; the next question opens it again. */
  release(client = this.#client): void {
    if (client === this.#client) this.#client = undefined
    client?.then((agent) => agent.close()).catch(() => {}) // A client that never connected has nothing to close.
  }

  async #ask<T>(question: (agent: GuestAgentClient) => Promise<T>): Promise<T> {
    const client = this.#connect()
    try {
      return await question(await client)
    } catch (error) {
      if (error instanceof KvasirError) throw error
      this.release(client)
      const sentence = error instanceof Error ? error.message : String(error)
      throw new KvasirError('guest-agent-unavailable', `The guest agent gave no answer: ${sentence}`, {
        cause: error,
      })
    }
  }

  #connect(): Promise<GuestAgentClient> {
    if (this.#client) return this.#client
    const client = connectPastLeftovers(this.#path)
    this.#client = client
    // Its end must not end a later connection.
    client.then((agent) => agent.closed.then(() => this.release(client))).catch(() => {}) // Told to who asked.
    return client
  }
}

/**
 * Connects, past the rest of an answer that was too long: a new connection begins in the middle of it, and each reads as much as the
 * bound for lines allows.
 */
async function connectPastLeftovers(path: string): Promise<GuestAgentClient> {
  for (let left = maxLeftovers; ; left--) {
    try {
      return await GuestAgentClient.connect({ path, syncTimeoutMs: connectTimeoutMs })
    } catch (error) {
      if (left === 0 || !isTooLong(error)) throw error
    }
  }
}

function isTooLong(error: unknown): boolean {
  if (error instanceof QmpProtocolError) return true
  return error instanceof QmpClosedError && error.reason.kind === 'protocol-error'
}

/** A program that the guest does not have is the caller's matter, not one of the agent. */
function refusedExec(path: string, error: unknown): unknown {
  const cause = error instanceof Error ? error.cause : undefined
  if (!(cause instanceof QmpError)) return error
  const why = /\(([^()]+)\)'?$/.exec(cause.desc)?.[1] ?? cause.desc
  return new KvasirError('guest-refused', `The guest does not run ${path}: ${guestText(why)}.`, { cause })
}

/** The agent gives all output in one answer, and the channel takes no longer ones than its bound. */
function lostOutput(path: string, error: unknown): unknown {
  const { cause } = error instanceof Error ? error : {}
  if (!isTooLong(cause)) return error
  return new KvasirError(
    'guest-refused',
    `The output of ${path} is longer than ${maxAgentLineBytes / 2 ** 20} MiB in an answer of the guest agent, so it is lost; write it to a file in the guest.`,
    { cause },
  )
}

function execResult(status: {
  readonly exitcode?: number | undefined
  readonly signal?: number | undefined
  readonly 'out-data'?: string | undefined
  readonly 'err-data'?: string | undefined
  readonly 'out-truncated'?: boolean | undefined
  readonly 'err-truncated'?: boolean | undefined
}): AgentExecResult {
  const stdout = Buffer.from(status['out-data'] ?? '', 'base64')
  const stderr = Buffer.from(status['err-data'] ?? '', 'base64')
  return {
    exitCode: status.exitcode,
    signal: status.signal,
    stdout: stdout.subarray(0, maxOutputBytes),
    stderr: stderr.subarray(0, maxOutputBytes),
    truncated:
      status['out-truncated'] === true ||
      status['err-truncated'] === true ||
      stdout.length > maxOutputBytes ||
      stderr.length > maxOutputBytes,
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, ms)
    function done(): void {
      signal.removeEventListener('abort', onAbort)
      resolve()
    }
    function onAbort(): void {
      clearTimeout(timer)
      reject(signal.reason)
    }
    signal.addEventListener('abort', onAbort, { once: true })
  })
}
