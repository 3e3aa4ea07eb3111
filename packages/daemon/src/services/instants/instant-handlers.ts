/** The handlers of instants: kept by a job each, read as streams (read-instant.ts). */
import { type Instant, KvasirError, streams } from '@kvasir/contract'
import type { Ports } from '../../ports/ports.ts'
import type { ConsoleDesk } from '../consoles/console-desk.ts'
import type { Context } from '../context.ts'
import type { HandlerRequest, Handlers } from '../handlers.ts'
import { allocatedBytesOf } from '../volumes/show-volume.ts'
import { holdInstant } from './hold-instant.ts'
import type { LiveInstant } from './live-instant.ts'
import { readInstant } from './read-instant.ts'
import { serveInstant } from './serve-instant.ts'

type InstantHandlerIds = 'listInstants' | 'createInstant' | 'readInstant' | 'nbdTicket' | 'endInstant'

/** However long somebody reads. */
const deadlineMs = 7 * 24 * 3_600_000
/** Letting go may wait for storage. */
const endMs = 60_000

/** The handlers of everything under `/v1/vms/{name}/instants`. */
export function createInstantHandlers(
  context: Context,
  desk: Pick<ConsoleDesk, 'issueNbd'>,
): Pick<Handlers, InstantHandlerIds> {
  const { drivers, jobs, ports } = context
  const kept = new Map<string, LiveInstant>()
  const find = (params: { readonly name: string; readonly instant: string }): LiveInstant => {
    const found = kept.get(params.instant)
    if (found && found.vmId === drivers.find(params.name).id) return found
    throw new KvasirError('instant-not-found', `VM ${params.name} has no instant ${params.instant}.`)
  }
  return {
    async listInstants({ params }) {
      const { id } = drivers.find(params.name)
      const found = [...kept.values()].filter(({ vmId }) => vmId === id)
      return await Promise.all(found.map((instant) => showInstant(instant, ports)))
    },
    createInstant: (request) => createInstant(request, kept, context),
    readInstant: async ({ params, signal }) =>
      readInstant(find(params), { disk: params.disk, driver: drivers.find(params.name), signal }),
    async nbdTicket({ params }) {
      const instant = find(params)
      const driver = drivers.find(params.name)
      await serveInstant(instant, { driver, ports })
      const open = () => instant.connect()
      const issued = desk.issueNbd({ vmId: driver.id, vmName: params.name, open })
      return { ...issued, url: `${streams.nbd}?ticket=${issued.ticket}` }
    },
    async endInstant({ params, signal }) {
      const instant = find(params)
      instant.end(new KvasirError('instant-not-found', `Instant ${params.instant} was ended.`))
      await jobs.wait(params.instant, endMs, signal)
      return undefined
    },
  }
}

/** Answers as soon as the guest goes on; the disks are still being copied then. */
async function createInstant(
  { params, body, caller, keep, signal }: HandlerRequest<'createInstant'>,
  kept: Map<string, LiveInstant>,
  context: Context,
): Promise<Instant> {
  const driver = context.drivers.find(params.name)
  driver.requireAllowed('merge')
  const { promise, resolve, reject } = Promise.withResolvers<LiveInstant>()
  const { id, name } = driver.view().record
  const subject = { kind: 'vm' as const, name, id }
  const job = context.jobs.run(
    { kind: 'vm.export', subject, owner: caller.name, deadlineMs },
    async (handle) => {
      const onKept = (instant: LiveInstant) => {
        kept.set(handle.id, instant)
        resolve(instant)
      }
      try {
        const keepAnswer = (instant: LiveInstant) => keep(answerOf(instant))
        const holding = { driver, context, job: handle, request: body, keep: keepAnswer, onKept }
        return await holdInstant(holding)
      } catch (error) {
        reject(error)
        throw error
      } finally {
        kept.delete(handle.id)
      }
    },
  )
  const instant = await promise
  if (signal.aborted) context.jobs.cancel(job.id) // Nobody will know its id.
  return answerOf(instant)
}

/** What is known without looking at the pools. */
function answerOf({ about, copied, disks }: LiveInstant): Instant {
  return {
    ...about,
    copied,
    disks: disks.map(({ disk, scratch, kind, reason }) => ({
      disk,
      sizeBytes: scratch.capacityBytes,
      kind,
      ...(reason === undefined ? {} : { reason }),
    })),
  }
}

async function showInstant(instant: LiveInstant, ports: Ports): Promise<Instant> {
  const kept = await Promise.all(instant.disks.map(({ scratch }) => allocatedBytesOf(scratch, ports)))
  const answer = answerOf(instant)
  const disks = answer.disks.map((disk, index) => {
    const keptBytes = kept[index]
    return keptBytes === undefined ? disk : { ...disk, keptBytes }
  })
  return { ...answer, disks }
}
