/** Waits for an instant that can be read. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Instant } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import type { Context } from '../context.ts'
import { ProgressBar } from '../output/progress-bar.ts'

const lookMs = 100

/** The disks are kept on the host first, at its own speed. Throws why the instant ended, if it did. */
export async function untilCopied(context: Context, instant: Instant): Promise<void> {
  const { client, signal, output } = context
  const { vm, id } = instant
  using bar = new ProgressBar(output)
  for (;;) {
    const instants = await client.call(routes.listInstants, { params: { name: vm }, signal })
    const found = instants.find((one) => one.id === id)
    if (!found) throw await whyEnded(context, instant)
    if (found.copied === 1) return
    bar.show({ state: 'running', step: 'copying the disks', progress: found.copied })
    await sleep(lookMs, undefined, { signal })
  }
}

/** Why an instant is there no more. */
export async function whyEnded({ client, signal }: Context, { id }: Instant): Promise<KvasirError> {
  const { error, outcome } = await client.call(routes.getJob, { params: { id }, signal })
  const words = outcome === undefined ? '' : ` ${outcome}`
  return new KvasirError(
    error?.code ?? 'instant-not-found',
    error?.detail ?? `Instant ${id} has ended.${words}`,
  )
}
