/** Volumes that come and go as streams. */
import type { ClaimedFile, ClientFile } from '../../ports/client-files.ts'
import type { Context } from '../context.ts'
import type { Handlers } from '../handlers.ts'
import { downloadVolume } from './download-volume.ts'
import { giveVolume, takeUpload } from './hand-over.ts'
import { receiveUpload } from './receive-upload.ts'
import { beginFinishUpload, beginUpload } from './upload-volume.ts'
import { requireVolume } from './volume-handlers.ts'

type TransferHandlerIds =
  | 'downloadVolume'
  | 'beginUpload'
  | 'sendUpload'
  | 'takeUpload'
  | 'giveContents'
  | 'finishUpload'

/** The handlers of uploads and downloads. */
export function createTransferHandlers(context: Context): Pick<Handlers, TransferHandlerIds> {
  const withFile = async <T>(
    connection: number | undefined,
    claimed: ClaimedFile,
    work: (file: ClientFile) => Promise<T>,
  ): Promise<T> => {
    const file = await context.ports.clientFiles.take(connection, claimed)
    try {
      return await work(file)
    } finally {
      file.close()
    }
  }
  return {
    downloadVolume: ({ params, signal }) => downloadVolume(requireVolume(params, context), context, signal),
    beginUpload: ({ params, body }) => beginUpload({ pool: params.pool, name: params.volume }, body, context),
    sendUpload: ({ params, query, body, signal }) =>
      receiveUpload(requireVolume(params, context), { offset: query.offset, pieces: body, signal }, context),
    async takeUpload({ params, body, connection, signal }) {
      const volume = requireVolume(params, context)
      return await withFile(connection, { ...body, access: 'read' }, (file) =>
        takeUpload(volume, { ...body, file, signal }, context),
      )
    },
    async giveContents({ params, body, connection, signal }) {
      const volume = requireVolume(params, context)
      return await withFile(connection, { ...body, access: 'write' }, (file) =>
        giveVolume(volume, { ...body, file, signal }, context),
      )
    },
    async finishUpload({ params, query, caller, signal }) {
      const job = beginFinishUpload(requireVolume(params, context), { context, caller })
      return await context.jobs.wait(job.id, (query.wait ?? 0) * 1000, signal)
    },
  }
}
