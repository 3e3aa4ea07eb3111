/** `kvasir vm create`. */
import type { Vm, VmSpecInput } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'
import { followJob } from '../follow-job.ts'
import { UsageError } from '../usage-error.ts'
import { createFlags } from './create-flags.ts'
import { specFromFlags } from './spec-from-flags.ts'
import { readVmFile } from './vm-file.ts'

export const createVm: Action = async (context) => {
  const { name, spec } = await whatToCreate(context)
  const { client, output, signal } = context
  const vm = await client.call(routes.createVm, {
    body: { name, spec, start: false },
    idempotencyKey: crypto.randomUUID(),
    signal,
  })
  if (!context.has('start')) {
    if (output.format === 'table') output.message(`VM ${name} is created. ${nextStep(vm)}`)
    else await output.result(vm, () => '')
    return undefined
  }
  output.message(`VM ${name} is created.`)
  const job = await client.call(routes.startVm, { params: { name }, query: { wait: 1 }, signal })
  if (output.format === 'table') {
    await followJob(context, job, () => `VM ${name} runs. Its console: kvasir vm console ${name}`)
    return undefined
  }
  return await printStarted(context, job)
}

/** A VM without anything to boot is no mistake, since a disk may follow, but it is rarely meant. */
function nextStep({ name, spec }: Vm): string {
  const boots = spec.image !== undefined || spec.boot.kernel !== undefined || spec.disks.length > 0
  if (boots) return `Start it: kvasir vm start ${name}`
  return `It has no image, no kernel and no disk to boot; add one: kvasir vm disk add ${name} image=IMAGE`
}

async function printStarted(context: Context, job: Parameters<typeof followJob>[1]): Promise<undefined> {
  const { client, output, signal } = context
  const { waitForJob } = await import('@kvasir/sdk')
  await waitForJob(client, job, { signal })
  await output.result(
    await client.call(routes.getVm, { params: { name: job.subject.name }, signal }),
    () => '',
  )
  return undefined
}

async function whatToCreate(context: Context): Promise<{ name: string; spec: VmSpecInput }> {
  const file = context.value('file')
  const name = context.optional('NAME')
  if (file === undefined) {
    if (name === undefined) {
      throw new UsageError(
        'NAME is missing.',
        'Write: kvasir vm create NAME --image IMAGE, or: kvasir vm create -f vm.yaml',
      )
    }
    return { name, spec: await specFromFlags(context, await imageBootOf(context)) }
  }
  const other = Object.keys(createFlags).find((flag) => flag !== 'start' && context.has(flag))
  if (other !== undefined)
    throw new UsageError(`--${other} and --file exclude each other.`, 'Write it into the file.')
  const written = await readVmFile(file)
  return { name: name ?? written.name, spec: written.spec }
}

async function imageBootOf(context: Context): Promise<'kernel' | 'disk' | undefined> {
  const image = context.value('image')
  if (image === undefined || !context.has('disk')) return undefined
  return (await context.client.call(routes.getImage, { params: { image }, signal: context.signal })).boot
}
