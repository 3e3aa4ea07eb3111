/** `kvasir vm edit`: the spec in the person's editor, then the plan, then a change that nobody else's change may precede. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Vm, VmSpecInput } from '@kvasir/contract'
import { exitCodes, KvasirError } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import { confirm } from '../confirm.ts'
import type { Context } from '../context.ts'
import { runProgram } from '../run-program.ts'
import { planText } from './apply.ts'
import { sayChanged } from './change-spec.ts'
import { parseVmFile } from './vm-file.ts'

export const editVm: Action = async (context) => {
  const params = { name: context.argument('NAME') }
  const before = await context.client.call(routes.getVm, { params, signal: context.signal })
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-edit-'))
  const file = join(folder, `${before.name}.yaml`)
  const original = await vmText(before)
  try {
    await writeFile(file, original, { mode: 0o600 })
    const edited = await editedText(context, file)
    if (edited === original) {
      context.output.message('Nothing was changed.')
      await rm(folder, { recursive: true, force: true })
      return undefined
    }
    const code = await applyEdited(context, before, edited)
    await rm(folder, { recursive: true, force: true })
    return code
  } catch (error) {
    if ((await readFile(file, 'utf8').catch(() => '')) === original)
      await rm(folder, { recursive: true, force: true })
    else context.output.stderr.write(`Your text is kept: ${file}\n`)
    throw error
  }
}

async function applyEdited(context: Context, before: Vm, text: string): Promise<number | undefined> {
  const { client, output, signal } = context
  const params = { name: before.name }
  const spec = await specOf(text, before)
  const plan = await client.call(routes.planVm, { params, body: { spec }, signal })
  output.stderr.write(await planText(plan, (words) => words))
  if (plan.action === 'nothing') return undefined
  if (plan.action === 'refused') throw new KvasirError('plan-refused', 'Nothing was changed.')
  if (!(await confirm(context, 'Apply this?'))) return exitCodes.refused
  const after = await client.call(routes.applyVm, {
    params,
    body: { spec },
    ifMatch: before.revision,
    idempotencyKey: crypto.randomUUID(),
    signal,
  })
  await sayChanged(context, before, after)
  return undefined
}

async function vmText({ name, spec }: Vm): Promise<string> {
  const { stringify } = await import('yaml')
  const disks = spec.disks.map((disk) =>
    disk.size === undefined ? disk : { ...disk, size: exactSize(disk.size) },
  )
  return stringify({
    name,
    spec: { ...spec, memory: { ...spec.memory, size: exactSize(spec.memory.size) }, disks },
  })
}

/** A size in the largest unit that it is a whole number of, such as `512MiB`; the daemon reads both. */
export function exactSize(bytes: number): number | string {
  const units = [
    ['TiB', 2 ** 40],
    ['GiB', 2 ** 30],
    ['MiB', 2 ** 20],
  ] as const
  const fitting = units.find(([, size]) => bytes > 0 && bytes % size === 0)
  return fitting === undefined ? bytes : `${bytes / fitting[1]}${fitting[0]}`
}

async function specOf(text: string, before: Vm): Promise<VmSpecInput> {
  const edited = await parseVmFile(text, 'The edited text')
  if (edited.name === before.name) return edited.spec
  throw new KvasirError(
    'bad-request',
    `The name was edited; rename with: kvasir vm rename ${before.name} ${edited.name}`,
  )
}

export async function editedText({ environment }: Context, file: string): Promise<string> {
  const editor = environment['VISUAL'] || environment['EDITOR'] || 'vi'
  // As git and others do it: the variable may hold arguments, which are for the shell to read.
  const code = await runProgram('/bin/sh', ['-c', `${editor} "$1"`, 'sh', file])
  if (code !== 0)
    throw new KvasirError('cancelled', `The editor ended with code ${code}, so nothing was changed.`)
  return await readFile(file, 'utf8')
}
