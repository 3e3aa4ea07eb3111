/** Changing a VM's spec: read, change, apply if nobody else changed it in between. */
import type { Job, Vm, VmSpec, VmSpecInput } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import type { Context } from '../context.ts'
import { followJob } from '../follow-job.ts'

/** Reads the VM, applies what `change` makes of its spec, and says so. Throws `revision-mismatch` when somebody was faster. */
export async function changeSpec(context: Context, change: (spec: VmSpec) => VmSpecInput): Promise<void> {
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
  await sayChanged(context, before, after)
}

/**
 * Prints the changed VM, for people what has to wait for the next boot. A change that the guest has a say in is followed until it is known
 * how far that went.
 */
export async function sayChanged(context: Context, before: Vm, after: Vm): Promise<void> {
  const { output } = context
  const job = await guestJob(context, after)
  if (job !== undefined) {
    await followJob(context, job, ({ outcome }) =>
      [`VM ${after.name} is changed.`, outcome, waitsFor(after)].filter(Boolean).join(' '),
    )
    return
  }
  if (output.format !== 'table') {
    await output.result(after, () => '')
    return
  }
  if (after.revision === before.revision) output.message(`VM ${after.name} already was so.`)
  else output.message([`VM ${after.name} is changed.`, waitsFor(after)].filter(Boolean).join(' '))
}

function waitsFor({ status }: Vm): string {
  const waiting = status.restartNeeded ?? []
  return waiting.length === 0 ? '' : `At the next boot: ${waiting.join(', ')}.`
}

/** The job that carries a change into the guest, where there is one. */
async function guestJob({ client, signal }: Context, { status }: Vm): Promise<Job | undefined> {
  if (status.job === undefined) return undefined
  const job = await client.call(routes.getJob, { params: { id: status.job }, signal })
  return job.kind === 'vm.set-vcpus' ? job : undefined
}
