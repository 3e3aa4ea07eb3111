/** Changing a VM's spec: read, change, apply if nobody else changed it in between. */
import type { Vm, VmSpec, VmSpecInput } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import type { Context } from '../context.ts'

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

/** Prints the changed VM, for people what has to wait for the next boot. */
export async function sayChanged({ output }: Context, before: Vm, after: Vm): Promise<void> {
  if (output.format !== 'table') {
    await output.result(after, () => '')
    return
  }
  const waiting = after.status.restartNeeded ?? []
  if (after.revision === before.revision) output.message(`VM ${after.name} already was so.`)
  else if (waiting.length === 0) output.message(`VM ${after.name} is changed.`)
  else output.message(`VM ${after.name} is changed. At the next boot: ${waiting.join(', ')}.`)
}
