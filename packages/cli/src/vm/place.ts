/**
 * `kvasir vm place`: where a VM lies, or would lie if it were started now, and why. Nothing is changed.
 *
 * With --root it is planned without a daemon, for a file's spec on a captured host that has no other VMs.
 */
import type { VmPlacement } from '@kvasir/contract'
import { exitCodes, KvasirError } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
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
  const [root, file, name] = [context.value('root'), context.value('file'), context.optional('NAME')]
  const { signal } = context
  if (root !== undefined) {
    if (file !== undefined) return await placeOnCapture(file, root, context.values('near'))
    throw new UsageError('On a captured host the VM comes from a file.', 'Write: -f vm.yaml --root DIR')
  }
  if (file !== undefined) {
    const vm = await readVmFile(file)
    const request = {
      params: { name: vm.name },
      body: { spec: vm.spec, devices: [...context.values('near')] },
      signal,
    }
    return await context.client.call(routes.placeSpec, request)
  }
  if (name === undefined)
    throw new UsageError('NAME is missing.', 'Write: kvasir vm place NAME, or -f vm.yaml')
  const query = context.has('dry-run') ? { anew: 'true' } : {}
  return await context.client.call(routes.placeVm, { params: { name }, query, signal })
}

async function placeOnCapture(file: string, root: string, devices: readonly string[]): Promise<VmPlacement> {
  const { name, spec } = await readVmFile(file)
  const { vmSpec } = await import('@kvasir/contract')
  const parsed = vmSpec.safeParse(spec)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    const where = issue?.path.join('.') || 'spec'
    throw new KvasirError('bad-request', `${file}: ${where} ${issue?.message ?? 'is not valid'}.`)
  }
  const { readCapturedTopology } = await import('../host/captured-host.ts')
  const { planPlacement } = await import('@kvasir/daemon/model/placement/plan-placement')
  const { placementOf, requestOf } = await import('@kvasir/daemon/model/placement/request-of')
  const request = requestOf(name, parsed.data, { devices })
  const topology = await readCapturedTopology(root)
  const decision = request && planPlacement(request, { topology, holdings: [] })
  return placementOf(name, decision && { decision, moves: [] })
}
