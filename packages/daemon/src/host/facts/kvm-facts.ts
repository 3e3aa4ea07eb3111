/**
 * What can be found out about KVM: the CPU's flags, whether the device opens, and what a probe emulator says. The decision is
 * model/accelerator.ts.
 *
 * The probe creates a stopped vCPU on the real machine type with the host's CPU model, as a VM would. Its answer is kept for this
 * boot, this binary and this device node; that it failed is kept for a minute only, since a busy host can be the reason.
 */
import { constants } from 'node:fs'
import { open, readFile, stat } from 'node:fs/promises'
import { z } from 'zod'
import { type AcceleratorFacts, isProbeNeeded } from '../../model/accelerator.ts'
import { askEmulator } from './ask-emulator.ts'
import type { FoundBinary } from './emulator-binary.ts'
import { CachedAnswer } from './facts-cache.ts'
import { parseCpuInfo } from './proc-files.ts'

const PROBE_TIMEOUT_MS = 20_000
const FAILURE_KEPT_MS = 60_000

const kvmReply = z.object({ present: z.boolean(), enabled: z.boolean() })

const machines: Readonly<Record<string, string>> = { x64: 'q35', arm64: 'virt' }

export interface KvmFactsOptions {
  readonly bootId: string
  readonly cachePath: string
  /** Answers the emulator to probe with; it may throw when there is none. */
  readonly findBinary: () => Promise<FoundBinary>
  readonly devicePath?: string
  /** The text of /proc/cpuinfo, for tests. */
  readonly readCpuInfo?: () => Promise<string>
}

/** The facts about KVM on this host. */
export class KvmFacts {
  readonly #options: KvmFactsOptions
  readonly #device: string
  readonly #cache: CachedAnswer<z.output<typeof kvmReply>>
  /** Of this boot's kernel, which tells of each CPU in turn: on a host with many that takes milliseconds. */
  #cpuFlags: readonly string[] | undefined
  #failed: { readonly key: string; readonly untilMs: number } | undefined
  #probing: { readonly key: string; readonly answer: Promise<AcceleratorFacts['probe']> } | undefined

  constructor(options: KvmFactsOptions) {
    this.#options = options
    this.#device = options.devicePath ?? '/dev/kvm'
    this.#cache = new CachedAnswer(options.cachePath, kvmReply)
  }

  /** Whether KVM could turn out to be usable: the CPU has the flag and the device opens. Asks no emulator. */
  async isPossible(): Promise<boolean> {
    return isProbeNeeded(await this.#look())
  }

  /** Looks; starts a probe emulator only where its answer could change the decision. Never throws for what is missing. */
  async gather(): Promise<AcceleratorFacts> {
    const seen = await this.#look()
    if (!isProbeNeeded(seen)) return { ...seen, probe: 'not-run' }
    const binary = await this.#options.findBinary().catch(() => undefined)
    const probe = binary === undefined ? 'not-run' : await this.#probe(binary)
    return { ...seen, probe }
  }

  async #look(): Promise<Omit<AcceleratorFacts, 'probe'>> {
    const [cpuFlags, kvmDevice] = await Promise.all([this.#readFlags(), openState(this.#device)])
    return { cpuFlags, kvmDevice }
  }

  async #readFlags(): Promise<readonly string[]> {
    const readCpuInfo = this.#options.readCpuInfo ?? (() => readFile('/proc/cpuinfo', 'utf8'))
    this.#cpuFlags ??= parseCpuInfo(await readCpuInfo()).flags
    return this.#cpuFlags
  }

  async #probe(binary: FoundBinary): Promise<AcceleratorFacts['probe']> {
    const device = await stat(this.#device)
    const key = [this.#options.bootId, binary.identity, device.ino, device.mtimeMs, device.ctimeMs].join('|')
    const known = await this.#cache.find(key)
    if (known !== undefined) return known
    if (this.#failed?.key === key && performance.now() < this.#failed.untilMs) return 'failed'
    if (this.#probing?.key === key) return this.#probing.answer
    const answer = this.#ask(binary, key).finally(() => {
      this.#probing = undefined
    })
    this.#probing = { key, answer }
    return answer
  }

  async #ask(binary: FoundBinary, key: string): Promise<AcceleratorFacts['probe']> {
    const machine = machines[process.arch] ?? 'q35'
    const reply = await askEmulator(binary.path, ['kvm'], {
      args: ['-machine', machine, '-accel', 'kvm', '-cpu', 'host', '-m', '16M'],
      timeoutMs: PROBE_TIMEOUT_MS,
    }).then(
      (answers) => kvmReply.safeParse(answers.get('kvm')),
      () => undefined,
    )
    if (reply?.success !== true) {
      this.#failed = { key, untilMs: performance.now() + FAILURE_KEPT_MS }
      return 'failed'
    }
    await this.#cache.keep(key, reply.data)
    return reply.data
  }
}

async function openState(device: string): Promise<AcceleratorFacts['kvmDevice']> {
  try {
    const handle = await open(device, constants.O_RDWR | constants.O_NONBLOCK)
    await handle.close()
    return 'usable'
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    // ENXIO and ENODEV: a node whose module is not loaded.
    return code === 'ENOENT' || code === 'ENXIO' || code === 'ENODEV' ? 'missing' : 'denied'
  }
}
