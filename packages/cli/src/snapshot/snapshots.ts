/** The verbs of snapshots. */
import type { Snapshot } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import { formatBytes } from '@kvasir/contract/size'
import type { Action } from '../command.ts'
import { confirm } from '../confirm.ts'
import type { Context } from '../context.ts'
import { followJob, startQuery } from '../follow-job.ts'
import { localTime } from '../output/time.ts'

export const listSnapshots: Action = async (context) => {
  const { client, output, signal } = context
  const params = { name: context.argument('VM') }
  const snapshots = await client.call(routes.listSnapshots, { params, signal })
  await output.rows<Snapshot>(
    snapshots,
    [
      { title: 'NAME', show: (snapshot) => snapshot.name },
      { title: 'PARENT', show: (snapshot) => snapshot.parent },
      { title: 'STATE', show: stateOf },
      { title: 'SIZE', show: (snapshot) => formatBytes(snapshot.sizeBytes), right: true },
      { title: 'CREATED', show: (snapshot) => localTime(snapshot.createdAt) },
      { title: 'DESCRIPTION', show: (snapshot) => snapshot.description },
    ],
    `VM ${params.name} has no snapshots.`,
  )
  return undefined
}

export const showSnapshot: Action = async (context) => {
  const { params, signal } = request(context)
  const snapshot = await context.client.call(routes.getSnapshot, { params, signal })
  await context.output.properties(snapshot, () => ({
    Name: snapshot.name,
    VM: snapshot.vm,
    Description: snapshot.description || undefined,
    Parent: snapshot.parent,
    State: stateOf(snapshot),
    Created: localTime(snapshot.createdAt),
    Quiesced: snapshot.quiesced ? 'yes' : 'no',
    Pause: snapshot.pauseMs === undefined ? undefined : `${snapshot.pauseMs.toFixed(1)} ms`,
    Memory: snapshot.memoryBytes === undefined ? undefined : formatBytes(snapshot.memoryBytes),
    Size: formatBytes(snapshot.sizeBytes),
    Disks: snapshot.disks.map(
      ({ disk, volume, pool = 'default', allocatedBytes }) =>
        `${disk} on ${volume} in pool ${pool}, ${formatBytes(allocatedBytes ?? 0)}`,
    ),
  }))
  return undefined
}

export const createSnapshot: Action = async (context) => {
  const { params, query, signal } = request(context)
  const body = {
    name: params.snapshot,
    description: context.value('description') ?? '',
    memory: context.has('memory'),
    quiesce: context.has('quiesce'),
  }
  const job = await context.client.call(routes.createSnapshot, {
    params: { name: params.name },
    query,
    body,
    signal,
    idempotencyKey: crypto.randomUUID(),
  })
  await followJob(context, job, ({ outcome }) =>
    [`VM ${params.name} has snapshot ${params.snapshot}.`, outcome].filter(Boolean).join(' '),
  )
  return undefined
}

export const revertSnapshot: Action = async (context) => {
  const { params, query, signal } = request(context)
  const keep = context.has('keep')
  const question = `Bring VM ${params.name} back to ${params.snapshot}?`
  const loss = keep ? '' : ' What its disks hold now is lost.'
  if (!(await confirm(context, `${question}${loss}`))) return 1
  const job = await context.client.call(routes.revertSnapshot, { params, query, body: { keep }, signal })
  await followJob(context, job, () => `VM ${params.name} is back at snapshot ${params.snapshot}.`)
  return undefined
}

export const deleteSnapshot: Action = async (context) => {
  const { params, query, signal } = request(context)
  if (!(await confirm(context, `Delete snapshot ${params.snapshot} of VM ${params.name}?`))) return 1
  const job = await context.client.call(routes.deleteSnapshot, { params, query, signal })
  await followJob(context, job, () => `Snapshot ${params.snapshot} of VM ${params.name} is deleted.`)
  return undefined
}

function request(context: Context): {
  params: { name: string; snapshot: string }
  query: { wait?: number }
  signal: AbortSignal
} {
  return {
    params: { name: context.argument('VM'), snapshot: context.argument('SNAPSHOT') },
    query: startQuery(context),
    signal: context.signal,
  }
}

function stateOf({ state, current }: Snapshot): string {
  if (state !== 'ready') return state
  return current ? 'current' : ''
}
