/**
 * Changing fields of a VM's spec: read, change, apply if nobody else changed it in between; else all of that again.
 *
 * A change names fields and not a revision, so it is as right on the newer spec. What a person wrote as a whole, having seen the old
 * one, is not applied over the newer one (edit.ts).
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Job, Vm, VmSpec, VmSpecInput } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import { waitForJob } from '@kvasir/sdk'
import type { Context } from '../context.ts'
import { followJob } from '../follow-job.ts'

type Change = (spec: VmSpec) => VmSpecInput

/** How long others may go on being faster. */
const PATIENCE_MS = 10_000
const LONGEST_PAUSE_MS = 50

/** Reads the VM, applies what `change` makes of its spec, and says so. Throws `revision-mismatch` when others are faster for too long. */
export async function changeSpec(context: Context, change: Change): Promise<void> {
  const { before, after } = await changeInTurn(context, change)
  await sayChanged(context, before, after)
}

async function changeInTurn(context: Context, change: Change): ReturnType<typeof changeOnce> {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    try {
      return await changeOnce(context, change)
    } catch (error) {
      const wasSlow = error instanceof KvasirError && error.code === 'revision-mismatch'
      if (!wasSlow || performance.now() > deadline) throw error
      await pause(Math.random() * LONGEST_PAUSE_MS, undefined, { signal: context.signal })
    }
  }
}

async function changeOnce(context: Context, change: Change) {
  const { client, signal } = context
  const params = { name: context.argument('NAME') }
  const before = await client.call(routes.getVm, { params, signal })
  const after = await client.call(routes.applyVm, {
    params,
    body: { spec: change(before.spec) },
    ifMatch: before.revision,
    idempotencyKey: crypto.randomUUID(),
    signal,
  })
  return { before, after }
}

/**
 * Prints the changed VM, for people what has to wait for the next boot. A change that the guest has a say in is followed until it is known
 * how far that went.
 */
export async function sayChanged(context: Context, before: Vm, after: Vm): Promise<void> {
  const { output } = context
  if (await followGuest(context, after)) return
  if (output.format !== 'table') {
    await output.result(after, () => '')
    return
  }
  if (after.revision === before.revision) output.message(`VM ${after.name} already was so.`)
  else output.message([`VM ${after.name} is changed.`, waitsFor(after)].filter(Boolean).join(' '))
}

function waitsFor({ status }: Vm): string {
  const { restartNeeded: waiting = [], restartReasons = {} } = status
  if (waiting.length === 0) return ''
  const reasons = Object.entries(restartReasons).map(([field, reason]) => `\n  ${field}: ${reason}`)
  return `At the next boot: ${waiting.join(', ')}.${reasons.join('')}`
}

/** Follows the job that carries a change into the guest, and says how far that went. Answers whether there is one. */
export async function followGuest(context: Context, after: Vm): Promise<boolean> {
  const job = await guestJob(context, after)
  if (job === undefined) return false
  const { client, output, signal } = context
  if (output.format === 'table' || context.has('detach')) {
    await followJob(context, job, ({ outcome }) =>
      [`VM ${after.name} is changed.`, outcome, waitsFor(after)].filter(Boolean).join(' '),
    )
    return true
  }
  await waitForJob(client, job, { signal })
  const params = { name: after.name }
  await output.result(await client.call(routes.getVm, { params, signal }), () => '')
  return true
}

/** The jobs that wait for a guest. */
const guestJobs: readonly Job['kind'][] = [
  'vm.set-vcpus',
  'vm.set-disks',
  'vm.set-nics',
  'vm.set-host-devices',
  'vm.set-channels',
  'vm.set-shares',
  'vm.set-devices',
]

async function guestJob({ client, signal }: Context, { status }: Vm): Promise<Job | undefined> {
  if (status.job === undefined) return undefined
  const job = await client.call(routes.getJob, { params: { id: status.job }, signal })
  return guestJobs.includes(job.kind) ? job : undefined
}
