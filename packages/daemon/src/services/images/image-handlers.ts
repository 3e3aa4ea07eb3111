/** Images: made by jobs, immutable, deleted when nothing is based on them. */
import type { Image, Job } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
import type { WorkOptions } from '../../ports/images.ts'
import type { Context } from '../context.ts'
import type { Caller, Handlers } from '../handlers.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { findImage, listImages } from './find-image.ts'
import { forgetImage, giveName } from './image-names.ts'

const buildDeadlineMs = 60 * 60_000
const importDeadlineMs = 6 * 60 * 60_000

type ImageHandlerIds = 'listImages' | 'getImage' | 'buildImage' | 'importImage' | 'pullImage' | 'deleteImage'

/** The handlers of everything under `/v1/images`. */
export function createImageHandlers(context: Context): Pick<Handlers, ImageHandlerIds> {
  const { ports, jobs } = context
  const wait = (id: string, seconds: number | undefined, signal: AbortSignal) =>
    jobs.wait(id, (seconds ?? 0) * 1000, signal)

  return {
    listImages: async () => [...(await listImages(ports))],
    getImage: ({ params }) => findImage(params.image, ports),
    async buildImage({ body, query, caller, keep, signal }) {
      const name = body.name ?? body.recipe
      const job = begin(
        context,
        { kind: 'image.build', name, caller, keep, deadlineMs: buildDeadlineMs },
        (options) => ports.makers.build(body.recipe, name, options),
      )
      return await wait(job.id, query.wait, signal)
    },
    async importImage({ body, query, caller, keep, signal }) {
      await requireFreeImageName(body.name, context)
      const job = begin(
        context,
        { kind: 'image.import', name: body.name, caller, keep, deadlineMs: importDeadlineMs },
        (options) =>
          ports.makers.importFile({ path: body.path, name: body.name, format: body.format }, options),
      )
      return await wait(job.id, query.wait, signal)
    },
    async pullImage({ body, query, caller, keep, signal }) {
      await requireFreeImageName(body.name, context)
      const job = begin(
        context,
        { kind: 'image.pull', name: body.name, caller, keep, deadlineMs: importDeadlineMs },
        (options) => ports.makers.pull({ ...body, format: body.format }, options),
      )
      return await wait(job.id, query.wait, signal)
    },
    async deleteImage({ params }) {
      const image = await findImage(params.image, ports)
      requireUnused(image, context)
      context.goneImages.add(image.id)
      await removeFiles(image, context)
      await ports.failpoint('image.delete.after-files')
      forgetImage(image, context)
      await ports.failpoint('image.delete.after-row')
      return undefined
    },
  }
}

async function removeFiles(image: Image, context: Context): Promise<void> {
  const { failpoint, images } = context.ports
  try {
    await failpoint('image.delete.before-files')
    await images.remove(image.id)
  } catch (error) {
    context.goneImages.delete(image.id)
    throw error
  }
}

interface ImageJob {
  readonly kind: 'image.build' | 'image.import' | 'image.pull'
  readonly name: string
  readonly caller: Caller
  readonly keep: (job: Job) => void
  readonly deadlineMs: number
}

function begin(context: Context, job: ImageJob, make: (options: WorkOptions) => Promise<Image>) {
  const subject = { kind: 'image' as const, name: job.name }
  const { kind, keep, deadlineMs } = job
  const request = { kind, subject, owner: job.caller.name, deadlineMs, alongside: keep }
  return context.jobs.run(request, async (handle: JobHandle) => {
    const image = await make({
      signal: handle.signal,
      onProgress: (step, fraction) => handle.progress(step, fraction),
    })
    await context.ports.failpoint('image.make.after-files')
    await giveName({ id: image.id, name: job.name }, context, (write) => handle.conclude(image.id, write))
    await context.ports.failpoint('image.make.after-row')
    return image.id
  })
}

async function requireFreeImageName(name: string, context: Context): Promise<void> {
  if ((await listImages(context.ports)).some((image) => image.name === name))
    throw new KvasirError(
      'name-taken',
      `There is an image ${name} already, so no other one can have that name.`,
    )
}

function requireUnused(image: Image, context: Context): void {
  const { store } = context.ports
  const vms = store.vms.list().filter((row) => row.kind === 'vm' && row.record.spec.image === image.id)
  const volumes = store.volumes.list().filter((volume) => volume.imageId === image.id)
  const users = [
    ...vms.map((row) => `VM ${row.kind === 'vm' ? row.record.name : row.id}`),
    ...volumes.map((volume) => `volume ${volume.name}`),
  ]
  if (users.length === 0) return
  const named = users.slice(0, 5).join(', ')
  throw new KvasirError('in-use', `Image ${image.name} is the base of ${named}, so it is not deleted.`, {
    details: { users: users.slice(0, 100) },
  })
}
