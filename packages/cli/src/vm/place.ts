/**
 * `kvasir vm place`: where a VM lies, or would lie if it were started now, and why. Nothing is changed.
 *
 * With --root it is planned without a daemon, for a file's spec on a captured host that has no other VMs.
 */
import type { VmPlacement } from '@kvasir/contract'
import { exitCodes, KvasirError } from '@kvasir/contract/error-table'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'
import { UsageError } from '../usage-error.ts'
import { readVmFile } from './vm-file.ts'

export const placeVm: Action = async (context) => {
  const placement = await findPlacement(context)
  await context.output.result(placement, async () => {
    const { placementText } = await import('./placement-text.ts')
    return placementText(placement, {
      explain: context.has('explain'),
      bold: (text) => context.output.bold(text),
    })
  })
  return placement.state === 'refused' ? exitCodes.refused : undefined
}

async function findPlacement(context: Context): Promise<VmPlacement> {
  const root = context.value('root')
  const file = context.value('file')
  if (root !== undefined && file !== undefined) return await placeOnCapture(file, root)
  throw new UsageError('A captured host is placed on from a file.', 'Write: -f vm.yaml --root DIR')
}

async function placeOnCapture(file: string, root: string): Promise<VmPlacement> {
  const { name, spec } = await readVmFile(file)
  const { vmSpec } = await import('@kvasir/contract')
  const parsed = vmSpec.safeParse(spec)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw new KvasirError(
      'bad-request',
      `${file}: ${issue?.path.join('.') ?? 'spec'} ${issue?.message ?? 'is not valid'}.`,
    )
  }
  const { readCapturedTopology } = await import('../host/captured-host.ts')
  const { planPlacement } = await import('@kvasir/daemon/model/placement/plan-placement')
  const { placementOf, requestOf } = await import('@kvasir/daemon/model/placement/request-of')
  const request = requestOf(name, parsed.data)
  if (request === undefined)
    throw new KvasirError(
      'bad-request',
      `VM ${name} has cpu.placement none, so the scheduler places it and there is nothing to plan.`,
    )
  return placementOf(
    name,
    planPlacement(request, { topology: await readCapturedTopology(root), holdings: [] }),
  )
}
