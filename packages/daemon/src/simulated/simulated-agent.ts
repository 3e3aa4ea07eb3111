/** The agent inside a simulated guest. It knows four commands. */
import { KvasirError } from '@kvasir/contract'
import type { GuestReport } from '../ports/emulator-memory.ts'
import type { AgentChannel, AgentExecResult } from '../ports/emulators.ts'
import type { EmulatorProcess } from './emulator-process.ts'
import type { SimulatedMachine } from './machine.ts'

export class SimulatedAgent implements AgentChannel {
  readonly #process: EmulatorProcess
  readonly #machine: SimulatedMachine

  constructor(process: EmulatorProcess, machine: SimulatedMachine) {
    this.#process = process
    this.#machine = machine
  }

  isConnected(): boolean {
    return this.#process.agentConnected
  }

  async shutdown(mode: 'powerdown' | 'reboot'): Promise<void> {
    await this.#answer()
    if (mode === 'reboot') this.#process.guestReboots()
    else this.#process.guestPowersOff()
  }

  async exec(request: {
    readonly command: readonly string[]
    readonly input: string | undefined
    readonly timeoutMs: number
    readonly signal: AbortSignal
  }): Promise<AgentExecResult> {
    await this.#answer()
    const [program = '', ...args] = request.command
    switch (program) {
      case 'echo':
        return exited(0, `${args.join(' ')}\n`)
      case 'cat':
        return exited(0, request.input ?? '')
      case 'hostname':
        return exited(0, `${this.#process.request.name}\n`)
      case 'nproc':
        return exited(0, `${this.#process.vcpuCount}\n`)
      case 'sleep':
        await this.#machine.clock.sleep(
          Math.min(Number(args[0] ?? 0) * 1000, request.timeoutMs),
          request.signal,
        )
        return exited(0, '')
      default:
        return exited(127, '', `${program}: not found\n`)
    }
  }

  async memory(): Promise<GuestReport | undefined> {
    await this.#answer()
    return { source: 'agent', totalBytes: this.#process.request.memoryBytes }
  }

  async freeze(): Promise<number> {
    await this.#answer()
    this.#process.isFrozen = true
    return 1
  }

  async thaw(): Promise<void> {
    await this.#answer()
    this.#process.isFrozen = false
  }

  async identity(): Promise<{
    readonly hostname: string
    readonly os: string
    readonly interfaces: readonly { name: string; mac: string | undefined; addresses: readonly string[] }[]
  }> {
    await this.#answer()
    const { name, plan } = this.#process.request
    const interfaces = plan.userNics.map((nic, index) => ({
      name: `eth${index}`,
      mac: nic.mac,
      addresses: [`10.0.2.${15 + index}`],
    }))
    return { hostname: name, os: 'Simulated Linux', interfaces }
  }

  async useAllVcpus(): Promise<number> {
    await this.#answer()
    return this.#process.vcpuCount
  }

  async #answer(): Promise<void> {
    await this.#process.answer()
    if (!this.isConnected() || this.#process.runState !== 'running')
      throw new KvasirError('guest-agent-unavailable', 'The guest agent does not answer.')
  }
}

function exited(exitCode: number, stdout: string, stderr = ''): AgentExecResult {
  return {
    exitCode,
    signal: undefined,
    stdout: Buffer.from(stdout),
    stderr: Buffer.from(stderr),
    truncated: false,
  }
}
