/**
 * What the QEMU at hand can offer guests as CPU, asked of a probe emulator: its models with what the host lacks for each, and which
 * flags the host can show (QEMU: query-cpu-definitions, query-cpu-model-expansion).
 *
 * Asked when a VM first wants a CPU of its own, then kept: under TCG for the binary; under KVM also for this boot and for what the
 * module says of nested virtualization.
 */
import { readFile } from 'node:fs/promises'
import { KvasirError } from '@kvasir/contract'
import { z } from 'zod'
import type { Extension } from '../../model/cpu/cpu-model.ts'
import type { CpuOffer } from '../../model/cpu/cpu-offer.ts'
import { askEmulator } from './ask-emulator.ts'
import type { FoundBinary } from './emulator-binary.ts'
import { CachedAnswer } from './facts-cache.ts'
import { parseCpuInfo } from './proc-files.ts'

/** A hundred models are made and thrown away: 30 ms, and under nested emulation a while. */
const askTimeoutMs = 60_000

const definitions = z.array(
  z.object({ name: z.string(), 'unavailable-features': z.array(z.string()).default([]) }),
)
const expansion = z.object({ model: z.object({ props: z.record(z.string(), z.unknown()) }) })
const kept = z.object({
  models: z.record(z.string(), z.array(z.string())),
  flags: z.record(z.string(), z.boolean()),
})

type Answer = z.output<typeof kept>
type Accelerator = CpuOffer['accelerator']

export interface CpuOffersOptions {
  readonly bootId: string
  /** The path of the file that keeps what is offered under an accelerator. */
  readonly cachePath: (accelerator: Accelerator) => string
  /** Throws `emulator-missing`. */
  readonly findBinary: () => Promise<FoundBinary>
}

/** What QEMU offers under each accelerator. */
export class CpuOffers {
  readonly #options: CpuOffersOptions
  readonly #caches: Readonly<Record<Accelerator, CachedAnswer<Answer>>>
  readonly #asking = new Map<string, Promise<Answer>>()

  constructor(options: CpuOffersOptions) {
    this.#options = options
    this.#caches = {
      kvm: new CachedAnswer(options.cachePath('kvm'), kept),
      tcg: new CachedAnswer(options.cachePath('tcg'), kept),
    }
  }

  /** Throws `emulator-missing`, and `emulator-failed` when the probe emulator does not answer. */
  async find(accelerator: Accelerator): Promise<CpuOffer> {
    const binary = await this.#options.findBinary()
    if (accelerator === 'tcg') {
      const answer = await this.#recallOrAsk('tcg', binary.identity, binary)
      return { accelerator, ...answer, extension: 'svm', nested: undefined }
    }
    const extension = await hostExtension()
    const nested = await readNested(extension)
    const key = [this.#options.bootId, binary.identity, nested?.isOn].join('|')
    return { accelerator, ...(await this.#recallOrAsk('kvm', key, binary)), extension, nested }
  }

  async #recallOrAsk(accelerator: Accelerator, key: string, binary: FoundBinary): Promise<Answer> {
    const known = await this.#caches[accelerator].find(key)
    if (known !== undefined) return known
    const asking = this.#asking.get(accelerator + key) ?? this.#ask(accelerator, key, binary)
    this.#asking.set(accelerator + key, asking)
    return await asking.finally(() => this.#asking.delete(accelerator + key))
  }

  async #ask(accelerator: Accelerator, key: string, binary: FoundBinary): Promise<Answer> {
    const answers = await askEmulator(binary.path, ['cpuModels', 'cpuFlags'], {
      args: ['-machine', 'q35', '-accel', accelerator, '-m', '16M'],
      timeoutMs: askTimeoutMs,
    }).catch((cause: unknown) => {
      throw noAnswer(binary, cause)
    })
    const models = definitions.safeParse(answers.get('cpuModels'))
    const flags = expansion.safeParse(answers.get('cpuFlags'))
    if (!models.success || !flags.success) throw noAnswer(binary, models.error ?? flags.error)
    const answer: Answer = {
      models: Object.fromEntries(models.data.map((model) => [model.name, model['unavailable-features']])),
      flags: booleansOf(flags.data.model.props),
    }
    await this.#caches[accelerator].keep(key, answer)
    return answer
  }
}

function booleansOf(props: Readonly<Record<string, unknown>>): Record<string, boolean> {
  return Object.fromEntries(
    Object.entries(props).flatMap(([name, value]) => (typeof value === 'boolean' ? [[name, value]] : [])),
  )
}

async function hostExtension(): Promise<Extension> {
  const { flags } = parseCpuInfo(await readFile('/proc/cpuinfo', 'utf8'))
  return flags.includes('vmx') ? 'vmx' : 'svm'
}

async function readNested(extension: Extension): Promise<CpuOffer['nested']> {
  const module = extension === 'vmx' ? 'kvm_intel' : 'kvm_amd'
  const value = await readFile(`/sys/module/${module}/parameters/nested`, 'utf8').catch(() => undefined)
  return value === undefined ? undefined : { module, isOn: /^[1Y]/.test(value) }
}

function noAnswer({ path }: FoundBinary, cause: unknown): KvasirError {
  return new KvasirError(
    'emulator-failed',
    `${path} did not say which CPUs it can give to guests, so none but the host's own can be used.`,
    { cause },
  )
}
