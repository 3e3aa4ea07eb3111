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
  const result = await emulator.agent.exec({
    command: request.command,
    input: request.input,
    timeoutMs: request.timeoutSeconds * 1000,
    signal,
  })
  return {
    ...(result.exitCode === undefined ? {} : { exitCode: result.exitCode }),
    ...(result.signal === undefined ? {} : { signal: result.signal }),
    stdout: Buffer.from(result.stdout).toString('utf8'),
    stderr: Buffer.from(result.stderr).toString('utf8'),
    truncated: result.truncated,
  }
}
