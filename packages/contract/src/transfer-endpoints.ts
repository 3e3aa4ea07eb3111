/** The endpoints by which the contents of volumes come and go. */
import { z } from 'zod'
import { receivedContents, sentContents } from './contents-schemas.ts'
import { endpoint } from './endpoint.ts'
import { job } from './job.ts'
import { resourceName } from './names.ts'
import { queryInt, wait } from './parameters.ts'
import { byteSize, bytes } from './units.ts'
import { volume, volumeFormats } from './volume.ts'

const byVolume = z.strictObject({ pool: resourceName, volume: resourceName })

/** What is going to be uploaded. */
export const newUpload = z.strictObject({
  size: byteSize.meta({ description: 'Of what is sent.' }),
  format: z.enum(volumeFormats).default('raw').meta({
    description: 'raw: what a guest is to see. qcow2: a file of that format, which names no other.',
  }),
  as: z
    .enum(volumeFormats)
    .optional()
    .meta({ description: 'The format of the volume; that of what is sent unless said.' }),
  encrypt: resourceName.optional().meta({
    description:
      'The secret with which a new volume is encrypted (LUKS): what is sent is contents (raw), and is encrypted as it is written.',
  }),
  fingerprint: z.string().max(200).optional().meta({
    description: 'Whatever tells what is sent from anything else; an upload goes on only with the same.',
  }),
  force: z
    .boolean()
    .default(false)
    .meta({ description: 'Fill a volume that is there and that nobody uses; what was on it is lost.' }),
})

export type NewUpload = z.output<typeof newUpload>

const digits = z.string().regex(/^\d{1,20}$/)

/** A regular file that the client has open, as fstat(2) tells of it there. */
const clientFile = z.strictObject({
  descriptor: z
    .int()
    .nonnegative()
    .max(2 ** 31 - 1)
    .meta({ description: 'Its number in the process that made the connection.' }),
  device: digits.meta({ description: 'st_dev, in decimal digits.' }),
  inode: digits.meta({ description: 'st_ino, in decimal digits.' }),
})

export const transferEndpoints = {
  downloadVolume: endpoint({
    id: 'downloadVolume',
    method: 'GET',
    path: '/v1/pools/{pool}/volumes/{volume}/contents',
    summary: 'What a guest would read from a volume that no running VM uses, as a stream',
    params: byVolume,
    response: sentContents,
    answer: 'contents',
  }),
  beginUpload: endpoint({
    id: 'beginUpload',
    method: 'POST',
    path: '/v1/pools/{pool}/volumes/{volume}/upload',
    summary: 'Make a volume to upload to, or go on with one; says how much of it is there',
    params: byVolume,
    body: newUpload,
    response: volume,
  }),
  sendUpload: endpoint({
    id: 'sendUpload',
    method: 'PATCH',
    path: '/v1/pools/{pool}/volumes/{volume}/contents',
    summary: 'Send the next part of an upload; a part that breaks off counts as far as it came',
    params: byVolume,
    query: z.strictObject({
      offset: queryInt.meta({ description: 'Where the part begins: how much there is.' }),
    }),
    body: receivedContents,
    response: z.strictObject({ offsetBytes: bytes, sizeBytes: bytes }),
  }),
  takeUpload: endpoint({
    id: 'takeUpload',
    method: 'POST',
    path: '/v1/pools/{pool}/volumes/{volume}/upload/take',
    summary:
      'Copy the next part of an upload out of a file that the client, a process of this host, has open; some seconds of work at a time',
    params: byVolume,
    body: clientFile.extend({
      offset: bytes.meta({ description: 'Where the part begins, here and in the file: how much there is.' }),
    }),
    response: z.strictObject({ offsetBytes: bytes, sizeBytes: bytes }),
  }),
  giveContents: endpoint({
    id: 'giveContents',
    method: 'POST',
    path: '/v1/pools/{pool}/volumes/{volume}/contents/give',
    summary:
      'Copy what a guest would read from a volume into a file that the client, a process of this host, has open; some seconds of work at a time',
    params: byVolume,
    body: clientFile.extend({
      offset: bytes.default(0).meta({ description: 'How much of it is in the file.' }),
      tag: z.string().max(100).optional().meta({
        description:
          'Of the answer before; where the volume has changed since, the file is filled from its beginning.',
      }),
    }),
    response: z.strictObject({
      offsetBytes: bytes.meta({ description: 'How much is in the file now, which is as long.' }),
      sizeBytes: bytes,
      tag: z.string().optional(),
    }),
  }),
  finishUpload: endpoint({
    id: 'finishUpload',
    method: 'POST',
    path: '/v1/pools/{pool}/volumes/{volume}/upload/finish',
    summary: 'Look at what was uploaded, and make it a volume that can be used',
    params: byVolume,
    query: wait,
    response: job,
    status: 202,
  }),
} as const
