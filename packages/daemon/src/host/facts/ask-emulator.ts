/**
 * Asking a QEMU binary about itself: it is started without a guest, answers a few commands over QMP on its standard streams, and ends.
 *
 * Nothing of a VM is in it, so it needs no cage and no socket; it ends with its answers or with the deadline.
 */
import { runCommand } from '@kvasir/linux'

/** What a QEMU is asked. The lists of types are names of QOM classes that can be made. */
const questions = {
  version: { execute: 'query-version' },
  machines: { execute: 'query-machines' },
  kvm: { execute: 'query-kvm' },
  accelerators: { execute: 'qom-list-types', arguments: { implements: 'accel', abstract: false } },
  devices: { execute: 'qom-list-types', arguments: { implements: 'device', abstract: false } },
  chardevs: { execute: 'qom-list-types', arguments: { implements: 'chardev', abstract: false } },
  cpuModels: { execute: 'query-cpu-definitions' },
  cpuFlags: {
    execute: 'query-cpu-model-expansion',
    arguments: { type: 'full', model: { name: 'max', props: { migratable: false } } },
  },
} as const

export type Question = keyof typeof questions

/** No guest, no devices, no configuration files, vCPUs stopped. */
const BARE = ['-nodefaults', '-no-user-config', '-display', 'none', '-S', '-qmp', 'stdio']

/** Starts the binary with `args` and answers what it returned to each question. Throws `CommandError`. */
export async function askEmulator(
  binary: string,
  asked: readonly Question[],
  options: { readonly args: readonly string[]; readonly timeoutMs: number },
): Promise<ReadonlyMap<Question, unknown>> {
  const commands = [
    { execute: 'qmp_capabilities' },
    ...asked.map((question) => ({ ...questions[question], id: question })),
    { execute: 'quit' },
  ]
  const { stdout } = await runCommand([binary, ...BARE, ...options.args], {
    timeoutMs: options.timeoutMs,
    input: commands.map((command) => `${JSON.stringify(command)}\n`).join(''),
  })
  const answers = new Map<Question, unknown>()
  for (const line of stdout.split('\n')) {
    const message = parseObject(line)
    const question = asked.find((known) => known === message?.['id'])
    if (question !== undefined && message !== undefined && 'return' in message)
      answers.set(question, message['return'])
  }
  return answers
}

function parseObject(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? { ...value } : undefined
  } catch {
    return undefined // A warning of QEMU, or a line that was cut.
  }
}
