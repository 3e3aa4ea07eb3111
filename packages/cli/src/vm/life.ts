/** The verbs of a VM's life: start to delete. */
import type { Vm } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import { confirm } from '../confirm.ts'
import type { Context } from '../context.ts'
import { followJob, startQuery } from '../follow-job.ts'
import { volumeName } from '../volume/volume-address.ts'

export const startVm: Action = async (context) => {
  const { params, query, signal } = request(context)
  const job = await context.client.call(routes.startVm, { params, query, signal })
  await followJob(context, job, () => `VM ${params.name} runs.`)
  return undefined
}

export const shutdownVm: Action = async (context) => {
  const { params, query, signal } = request(context)
  const mode = context.choice('mode', ['auto', 'agent', 'acpi'])
  const timeoutSeconds = context.number('timeout')
  const body = {
    ...(mode === undefined ? {} : { mode }),
    ...(timeoutSeconds === undefined ? {} : { timeoutSeconds }),
    ...(context.has('escalate') ? { escalate: true } : {}),
  }
  const job = await context.client.call(routes.shutdownVm, { params, query, body, signal })
  await followJob(context, job, () => `VM ${params.name} is shut off.`)
  return undefined
}

export const rebootVm: Action = async (context) => {
  const { params, query, signal } = request(context)
  const job = await context.client.call(routes.rebootVm, { params, query, signal })
  await followJob(context, job, () => `The guest of VM ${params.name} reboots.`)
  return undefined
}

export const saveVm: Action = async (context) => {
  const { params, query, signal } = request(context)
  const job = await context.client.call(routes.saveVm, { params, query, signal })
  await followJob(context, job, () => `VM ${params.name} is saved.`)
  return undefined
}

export const cloneVm: Action = async (context) => {
  const { params, query, signal } = request(context)
  const name = context.argument('NEW-NAME')
  const mode = context.choice('mode', ['linked', 'full'])
  const body = mode === undefined ? { name } : { name, mode }
  const job = await context.client.call(routes.cloneVm, {
    params,
    query,
    body,
    signal,
    idempotencyKey: crypto.randomUUID(),
  })
  await followJob(context, job, () => `VM ${name} is a clone of ${params.name}.`)
  return undefined
}

export const powerOffVm: Action = async (context) => {
  const { params, signal } = request(context)
  return show(context, await context.client.call(routes.powerOffVm, { params, signal }))
}

export const resetVm: Action = async (context) => {
  const { params, signal } = request(context)
  return show(context, await context.client.call(routes.resetVm, { params, signal }))
}

export const pauseVm: Action = async (context) => {
  const { params, signal } = request(context)
  return show(context, await context.client.call(routes.pauseVm, { params, signal }))
}

export const resumeVm: Action = async (context) => {
  const { params, signal } = request(context)
  return show(context, await context.client.call(routes.resumeVm, { params, signal }))
}

export const discardSavedVm: Action = async (context) => {
  const { params, signal } = request(context)
  return show(context, await context.client.call(routes.discardSavedVm, { params, signal }))
}

export const renameVm: Action = async (context) => {
  const { params, signal } = request(context)
  const body = { name: context.argument('NEW-NAME') }
  const vm = await context.client.call(routes.renameVm, { params, body, signal })
  return show(context, vm, `VM ${params.name} is now called ${vm.name}.`)
}

export const deleteVm: Action = async (context) => {
  const { params, signal } = request(context)
  const disks = context.has('disks')
  const what = disks ? `VM ${params.name} and its disks` : `VM ${params.name}`
  const { spec } = await context.client.call(routes.getVm, { params, signal })
  const volumes = spec.disks.flatMap(({ pool, volume }) =>
    volume === undefined ? [] : volumeName({ pool, name: volume }),
  )
  if (!(await confirm(context, `Delete ${what}?`))) return 1
  await context.client.call(routes.deleteVm, { params, query: disks ? { disks: 'true' } : {}, signal })
  const left = disks ? [] : volumes
  const stay = left.length === 0 ? '' : ` Its volumes stay: ${left.join(', ')}.`
  context.output.message(`${what} ${disks ? 'are' : 'is'} deleted.${stay}`)
  return undefined
}

function request(context: Context): {
  params: { name: string }
  query: { wait?: number }
  signal: AbortSignal
} {
  return { params: { name: context.argument('NAME') }, query: startQuery(context), signal: context.signal }
}

async function show({ output }: Context, vm: Vm, sentence?: string): Promise<undefined> {
  if (output.format === 'table') output.message(sentence ?? `VM ${vm.name} is ${vm.status.state}.`)
  else await output.result(vm, () => '')
  return undefined
}
