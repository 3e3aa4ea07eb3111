/** Runs a command inside a guest, through its agent. Does not take the seat: a long command holds nobody up. */
import { KvasirError } from '@kvasir/contract'
import type { Driver } from '../../ports/drivers.ts'

export interface ExecRequest {
  readonly command: readonly string[]
  readonly input?: string | undefined
  readonly timeoutSeconds: number
}

/** Runs the command and answers what it printed. `guest-agent-unavailable` when nobody answers. */
export async function execInVm(driver: Driver, request: ExecRequest, signal: AbortSignal) {
  const { emulator, record } = driver.view()
  if (!emulator || record.life.state !== 'running')
    throw new KvasirError(
      'wrong-state',
      `VM ${record.name} is ${record.life.state}, so no command can run in it.`,
      { details: { state: record.life.state, action: 'exec' } },
    )
  if (!record.spec.devices.agent)
    throw new KvasirError('guest-agent-unavailable', `VM ${record.name} has no channel for a guest agent.`)
  const hasAgent = emulator.agent.isConnected()
  const result = await emulator.agent
    .exec({
      command: request.command,
      input: request.input,
      timeoutMs: request.timeoutSeconds * 1000,
      signal,
    })
    .catch((error: unknown) => {
      throw namingVm(error, { name: record.name, program: request.command[0] ?? '', hasAgent })
    })
  return {
    ...(result.exitCode === undefined ? {} : { exitCode: result.exitCode }),
    ...(result.signal === undefined ? {} : { signal: result.signal }),
    stdout: Buffer.from(result.stdout).toString('utf8'),
    stderr: Buffer.from(result.stderr).toString('utf8'),
    truncated: result.truncated,
  }
}

/** The channel does not know whose agent is silent. What it says is for the log. */
function namingVm(
  error: unknown,
  was: { readonly name: string; readonly program: string; readonly hasAgent: boolean },
): unknown {
  if (!(error instanceof KvasirError) || error.code !== 'guest-agent-unavailable') return error
  const sentence = was.hasAgent
    ? `The guest agent of VM ${was.name} does not answer, so what became of ${was.program} is unknown.`
    : `No guest agent answers in VM ${was.name}, so ${was.program} was not run.`
  return new KvasirError('guest-agent-unavailable', sentence, { cause: error })
}
