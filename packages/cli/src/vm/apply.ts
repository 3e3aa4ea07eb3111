/** `kvasir vm apply` and `kvasir vm plan`: a file against what is. */
import type { VmPlan } from '@kvasir/contract'
import { exitCodes } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import { formatBytes } from '@kvasir/contract/size'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'
import { UsageError } from '../usage-error.ts'
import { followGuest } from './change-spec.ts'
import { readVmFile, type VmFile } from './vm-file.ts'

export const applyFile: Action = async (context) => {
  const { name, spec } = await fileOf(context)
  const { client, output, signal } = context
  const plan = await client.call(routes.planVm, { params: { name }, body: { spec }, signal })
  const vm = await client.call(routes.applyVm, {
    params: { name },
    body: { spec },
    idempotencyKey: crypto.randomUUID(),
    signal,
  })
  if (await followGuest(context, vm)) return undefined
  if (output.format === 'table') output.message(applied(plan))
  else await output.result(vm, () => '')
  return undefined
}

export const planFile: Action = async (context) => {
  const { name, spec } = await fileOf(context)
  const plan = await context.client.call(routes.planVm, {
    params: { name },
    body: { spec },
    signal: context.signal,
  })
  await printPlan(context, plan)
  return plan.action === 'refused' ? exitCodes.refused : undefined
}

/** Prints a plan, field by field. */
export async function printPlan({ output }: Context, plan: VmPlan): Promise<void> {
  await output.result(plan, () => planText(plan, (text) => output.bold(text)))
}

/** A plan in words. */
export async function planText(plan: VmPlan, bold: (text: string) => string): Promise<string> {
  const { formatTable } = await import('../output/table.ts')
  const table = formatTable(
    plan.changes,
    [
      { title: 'FIELD', show: (change) => change.field },
      { title: 'FROM', show: ({ field, from }) => valueText(field, from) },
      { title: 'TO', show: ({ field, to }) => valueText(field, to) },
      { title: 'EFFECT', show: (change) => change.effect },
      { title: 'REASON', show: (change) => change.reason },
    ],
    { bold },
  )
  return plan.changes.length === 0 ? `${applied(plan)}\n` : `${table}${applied(plan, 'would be')}\n`
}

function applied(plan: VmPlan, verb = 'is'): string {
  switch (plan.action) {
    case 'create':
      return `VM ${plan.name} ${verb} created.`
    case 'nothing':
      return `VM ${plan.name} already is what the spec says.`
    case 'refused':
      return `VM ${plan.name} cannot be changed in this way.`
    case 'change': {
      const later = plan.changes.some((change) => change.effect === 'next-boot')
      return `VM ${plan.name} ${verb} changed${later ? '; some of it at the next boot' : ''}.`
    }
  }
}

function valueText(field: string, value: unknown): string {
  if (typeof value === 'number' && /(^|\.)size$/.test(field)) return formatBytes(value)
  if (value === null || value === undefined) return '-'
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '-')
  return text.length > 40 ? `${text.slice(0, 39)}…` : text
}

async function fileOf(context: Context): Promise<VmFile> {
  const file = context.value('file')
  if (file === undefined)
    throw new UsageError('The file is missing.', 'Write: -f vm.yaml, or -f - to read stdin.')
  return await readVmFile(file)
}
