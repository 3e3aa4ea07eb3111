/** Events: what happened, numbered without gaps, so that a reader that was away can go on from where it stopped. */
import { z } from 'zod'
import { timestamp } from './units.ts'

export const eventKinds = [
  'vm.created',
  'vm.changed',
  'vm.renamed',
  'vm.deleted',
  'vm.state',
  'vm.guest',
  'vm.limits-kept',
  'vm.placement-lost',
  'image.added',
  'image.deleted',
  'pool.created',
  'pool.changed',
  'pool.state',
  'pool.findings',
  'pool.deleted',
  'volume.created',
  'volume.changed',
  'volume.deleted',
  'secret.created',
  'secret.changed',
  'secret.deleted',
  'network.created',
  'network.changed',
  'network.state',
  'network.deleted',
  'snapshot.created',
  'snapshot.deleted',
  'snapshot.reverted',
  'job.started',
  'job.progress',
  'job.ended',
  'daemon.started',
] as const

export const event = z
  .strictObject({
    seq: z.int().positive(),
    at: timestamp,
    kind: z.enum(eventKinds),
    subject: z.string().meta({
      description:
        'The name of the VM, image, pool, secret, network or volume (`POOL/NAME` outside of the default pool), or the id of the job.',
    }),
    data: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'Event' })

export type Event = z.output<typeof event>
export type EventKind = (typeof eventKinds)[number]
