/** A VM of a test, in the words of its diary: start, wait for the login prompt, run a command, look at the counter. */
import assert from 'node:assert/strict'
import {
  type Endpoints,
  endpoints,
  type Job,
  KvasirError,
  type Vm,
  type VmSpecInput,
  type VmState,
} from '@kvasir/contract'
import { type Client, waitForJob } from '@kvasir/sdk'
import type { z } from 'zod'
import { eventually } from './eventually.ts'
import { type ConsoleMode, type GuestConsole, openConsole } from './guest-console.ts'
import { isSlowMachine, patient } from './patience.ts'

/** What the tiny guest prints once per boot when its shell is there. */
export const loginMarker = 'tiny login:'

const shownOfConsole = 2_000
/** In the lab, which waits KVASIR_PATIENCE times as long, a guest boots in some twenty seconds, or not at all. */
const bootMs = isSlowMachine() ? 30_000 : 60_000
const agentMs = 30_000
const stateMs = 20_000
const jobMs = 120_000
const auditMs = 60_000

type ShutdownRequest = z.input<Endpoints['shutdownVm']['body']>

/** What a command in the guest printed, and how it ended. */
export interface Ran {
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number | undefined
}

/** One VM by its name; asking for it again always asks the daemon. */
export class VmHandle {
  readonly name: string
  readonly #client: () => Client

  /** `client` is asked for at each call, since a restarted daemon has another. */
  constructor(name: string, client: () => Client) {
    this.name = name
    this.#client = client
  }

  get #params() {
    return { params: { name: this.name } }
  }

  show(): Promise<Vm> {
    return this.#client().call(endpoints.getVm, this.#params)
  }

  async state(): Promise<VmState> {
    return (await this.show()).status.state
  }

  /** As in `paused: it was paused`. */
  async stateAndReason(): Promise<string> {
    const { status } = await this.show()
    return `${status.state}: ${status.reason}`
  }

  /** The process of its emulator; fails when it has none. */
  async pid(): Promise<number> {
    const { pid } = (await this.show()).status
    assert.ok(pid, `VM ${this.name} has no emulator`)
    return pid
  }

  async start(): Promise<void> {
    await this.#job(await this.#client().call(endpoints.startVm, this.#params))
  }

  async shutdown(body: ShutdownRequest = {}): Promise<void> {
    await this.#job(await this.#client().call(endpoints.shutdownVm, { ...this.#params, body }))
  }

  async reboot(): Promise<void> {
    await this.#job(await this.#client().call(endpoints.rebootVm, this.#params))
  }

  async save(): Promise<void> {
    await this.#job(await this.#client().call(endpoints.saveVm, this.#params))
  }

  async clone(name: string, mode: 'linked' | 'full'): Promise<VmHandle> {
    await this.#job(await this.#client().call(endpoints.cloneVm, { ...this.#params, body: { name, mode } }))
    return new VmHandle(name, this.#client)
  }

  powerOff = (): Promise<Vm> => this.#client().call(endpoints.powerOffVm, this.#params)
  reset = (): Promise<Vm> => this.#client().call(endpoints.resetVm, this.#params)
  pause = (): Promise<Vm> => this.#client().call(endpoints.pauseVm, this.#params)
  resume = (): Promise<Vm> => this.#client().call(endpoints.resumeVm, this.#params)
  discardSaved = (): Promise<Vm> => this.#client().call(endpoints.discardSavedVm, this.#params)

  async delete({ disks = true }: { readonly disks?: boolean } = {}): Promise<void> {
    await this.#client().call(endpoints.deleteVm, { ...this.#params, query: { disks: String(disks) } })
  }

  apply(spec: VmSpecInput, options: { readonly ifMatch?: number } = {}): Promise<Vm> {
    return this.#client().call(endpoints.applyVm, { ...this.#params, body: { spec }, ...options })
  }

  plan(spec: VmSpecInput) {
    return this.#client().call(endpoints.planVm, { ...this.#params, body: { spec } })
  }

  /** Waits for a state and gives the VM as it then is. */
  async untilState(state: VmState, { withinMs = stateMs } = {}): Promise<Vm> {
    let seen = ''
    return eventually(
      async () => {
        const vm = await this.show()
        seen = `${vm.status.state} (${vm.status.reason})`
        return vm.status.state === state ? vm : undefined
      },
      { withinMs, everyMs: 25, what: `VM ${this.name} is ${state}` },
    ).catch((cause: unknown) => {
      throw new Error(`VM ${this.name} is ${seen}, not ${state}, after ${withinMs / 1000} s.`, { cause })
    })
  }

  /** The end of what the guest said on its serial console, of all its boots. */
  serialLog(): Promise<string> {
    return this.#client().call(endpoints.logVm, { ...this.#params, query: { source: 'serial' } })
  }

  emulatorLog(): Promise<string> {
    return this.#client().call(endpoints.logVm, { ...this.#params, query: { source: 'emulator' } })
  }

  /** How often the guest has booted up to its login prompt. */
  async boots(): Promise<number> {
    return (await this.serialLog()).split(loginMarker).length - 1
  }

  /** Waits until the guest has booted to its login prompt for the n-th time, and asserts that it is caged. */
  async waitForLogin(boots = 1): Promise<void> {
    await eventually(async () => ((await this.boots()) >= boots ? true : undefined), {
      withinMs: bootMs,
      what: `VM ${this.name} shows its login prompt ${boots === 1 ? '' : `for the ${boots}th time`}`,
    }).catch(async (cause: unknown) => {
      const said = await this.serialLog().catch(() => '')
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new Error(`${why} Its console ended with:\n${said.slice(-shownOfConsole)}`, { cause })
    })
    await this.assertCaged()
  }

  /** Asserts that the emulator's cage is whole, as /proc shows it. */
  async assertCaged(): Promise<void> {
    const { uuid, status } = await this.show()
    if (status.pid === undefined) return // It was quicker: the guest has ended meanwhile.
    const { entries } = await this.#client().call(endpoints.getAudit, { timeoutMs: patient(auditMs) })
    const breaches = entries.filter(({ thing, id }) => thing === 'cage' && id === uuid)
    assert.deepEqual(breaches, [], `VM ${this.name} is caged.`)
  }

  /** Runs a command line in the guest by its agent, waiting for the agent where it is still starting. */
  async run(command: string): Promise<Ran> {
    return eventually(
      async () => {
        const { stdout, stderr, exitCode } = await this.#client().call(endpoints.execVm, {
          ...this.#params,
          body: { command: ['/bin/sh', '-c', command] },
          timeoutMs: patient(agentMs * 2),
        })
        return { stdout, stderr, exitCode }
      },
      {
        withinMs: agentMs,
        what: `the guest agent of VM ${this.name} answers`,
        isPassing: (error) => error instanceof KvasirError && error.code === 'guest-agent-unavailable',
      },
    )
  }

  /** What a command printed, without the last line's end; fails when the command does. */
  async shell(command: string): Promise<string> {
    const { stdout, stderr, exitCode } = await this.run(command)
    assert.equal(exitCode, 0, `In VM ${this.name}, ${command} ended with ${exitCode}: ${stderr}`)
    return stdout.trimEnd()
  }

  /** The tenths of seconds that the guest has counted since it booted; it goes on exactly while its memory does. */
  async counter(): Promise<number> {
    return Number(await this.shell('cat /run/counter 2>/dev/null || echo 0'))
  }

  /** Waits until the guest counts, which shows that it runs; gives where it is. */
  async isCounting(): Promise<number> {
    const before = await this.counter()
    return eventually(
      async () => {
        const now = await this.counter()
        return now > before ? now : undefined
      },
      { withinMs: 15_000, what: `the guest of VM ${this.name} counts on from ${before}` },
    )
  }

  console(mode: ConsoleMode = 'write'): Promise<GuestConsole> {
    return openConsole(this.#client(), { name: this.name, mode })
  }

  async #job(job: Job): Promise<void> {
    await waitForJob(this.#client(), job, { signal: AbortSignal.timeout(patient(jobMs)) })
  }
}
