/**
 * Asking a QEMU binary about itself: it is started without a guest, answers a few commands over QMP on its standard streams, and ends.
 *
 * Nothing of a VM is in it, so it needs no cage and no socket; it ends with its answers or with the deadline.
 */
import { runCommand } from '@kvasir/linux'

/** What a QEMU is asked, by QMP command. */
export type Question = 'query-version' | 'query-machines' | 'query-kvm'

/** No guest, no devices, no configuration files, vCPUs stopped. */
const BARE = ['-nodefaults', '-no-user-config', '-display', 'none', '-S', '-qmp', 'stdio']

/** Starts the binary with `args` and answers what it returned to each question. Throws `CommandError`. */
export async function askEmulator(
  binary: string,
  questions: readonly Question[],
  options: { readonly args: readonly string[]; readonly timeoutMs: number },
): Promise<ReadonlyMap<Question, unknown>> {
  const commands = [
    { execute: 'qmp_capabilities' },
    ...questions.map((question) => ({ execute: question, id: question })),
    { execute: 'quit' },
  ]
  const { stdout } = await runCommand([binary, ...BARE, ...options.args], {
    timeoutMs: options.timeoutMs,
    input: commands.map((command) => `${JSON.stringify(command)}\n`).join(''),
  })
  const answers = new Map<Question, unknown>()
  for (const line of stdout.split('\n')) {
    const message = parseObject(line)
    const question = questions.find((asked) => asked === message?.['id'])
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
