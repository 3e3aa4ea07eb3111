/** The daemon and the host, and the audit of the one against the other. */
import type { DaemonStatus } from '@kvasir/contract'
import type { Context } from '../context.ts'
import type { EventFeed, Handlers } from '../handlers.ts'
import { auditWorld } from './audit-world.ts'
import { listHostDevices } from './host-devices.ts'
import { readHostMemory } from './host-memory.ts'
import { refuseGoneEvents } from './refuse-gone-events.ts'

export interface DaemonIdentity {
  readonly version: string
  readonly pid: number
  readonly startedAt: string
}

type HostHandlerIds =
  | 'getStatus'
  | 'getHost'
  | 'getHostTopology'
  | 'getHostMemory'
  | 'listHostDevices'
  | 'getAudit'
  | 'listEvents'
  | 'listJobs'
  | 'getJob'
  | 'cancelJob'

/** The handlers of status, host, audit, jobs and events. */
export function createHostHandlers(
  context: Context,
  parts: { readonly daemon: DaemonIdentity; readonly feed: EventFeed },
): Pick<Handlers, HostHandlerIds> {
  const { ports, jobs } = context
  return {
    getStatus: () => status(context, parts),
    getHost: () => ports.host.describe(),
    getHostTopology: () => ports.host.topology(),
    getHostMemory: () => readHostMemory(context),
    listHostDevices: () => listHostDevices(context),
    getAudit: () => auditWorld(context),
    async listEvents({ query }) {
      // 0 means all that are kept.
      if (query.after > 0) refuseGoneEvents(parts.feed, query.after)
      return [...parts.feed.read(query.after, query.limit)]
    },
    listJobs: async () => [...jobs.list()],
    getJob: ({ params, query, signal }) => jobs.wait(params.id, (query.wait ?? 0) * 1000, signal),
    cancelJob: async ({ params }) => jobs.cancel(params.id),
  }
}

async function status(
  context: Context,
  parts: { readonly daemon: DaemonIdentity; readonly feed: EventFeed },
): Promise<DaemonStatus> {
  const { ports, drivers, jobs } = context
  const vms: Record<string, number> = {}
  for (const driver of drivers.list()) {
    const { state } = driver.view().record.life
    vms[state] = (vms[state] ?? 0) + 1
  }
  const problems = await findProblems(context)
  const accelerator = await ports.host.chooseAccelerator('auto').catch((error: unknown) => ({
    kind: 'tcg' as const,
    reason: error instanceof Error ? error.message : String(error),
  }))
  return {
    ...parts.daemon,
    healthy: problems.length === 0,
    problems,
    accelerator,
    vms,
    images: (await ports.images.list()).images.length,
    jobsRunning: jobs.running(),
    lastEventSeq: parts.feed.range().latest,
  }
}

async function findProblems(context: Context): Promise<string[]> {
  const problems: string[] = []
  await context.ports.host.qemu().catch((error: unknown) => {
    problems.push(error instanceof Error ? error.message : String(error))
  })
  for (const driver of context.drivers.list()) {
    const { record } = driver.view()
    if (record.life.state === 'unknown') problems.push(`VM ${record.name} is unknown: ${record.life.reason}.`)
  }
  return problems
}
