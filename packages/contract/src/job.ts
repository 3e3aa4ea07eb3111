/** Jobs: every long action, with an owner, progress, a deadline and a stored row. */
import { z } from 'zod'
import { problem } from './errors.ts'
import { resourceName, uuid } from './names.ts'
import { timestamp } from './units.ts'
import { volumeCheck } from './volume-check.ts'

export const jobKinds = [
  'vm.start',
  'vm.shutdown',
  'vm.reboot',
  'vm.save',
  'vm.memory',
  'vm.clone',
  'vm.set-vcpus',
  'snapshot.create',
  'snapshot.delete',
  'snapshot.revert',
  'vm.set-disks',
  'vm.set-nics',
  'vm.set-host-devices',
  'vm.set-channels',
  'vm.set-shares',
  'vm.set-devices',
  'vm.move-disk',
  'vm.export',
  'volume.clone',
  'volume.convert',
  'volume.flatten',
  'volume.check',
  'volume.repair',
  'volume.wipe',
  'volume.upload',
  'image.build',
  'image.import',
  'image.pull',
] as const

export const jobStates = ['running', 'succeeded', 'failed', 'cancelled'] as const

export const job = z
  .strictObject({
    id: uuid,
    kind: z.enum(jobKinds),
    subject: z.strictObject({
      kind: z.enum(['vm', 'image', 'volume']),
      name: resourceName,
      id: z.string().optional(),
    }),
    state: z.enum(jobStates),
    owner: z.string().meta({ description: 'Who asked for it.' }),
    step: z.string().meta({ description: 'What it is doing, in words.' }),
    progress: z.number().min(0).max(1).optional(),
    createdAt: timestamp,
    deadlineAt: timestamp,
    endedAt: timestamp.optional(),
    error: problem.optional(),
    outcome: z.string().optional().meta({ description: 'What came of it, in words.' }),
    check: volumeCheck.optional().meta({ description: 'What a check or a repair of a volume found.' }),
    result: z.string().optional().meta({ description: 'The name or id of what it made.' }),
  })
  .meta({ id: 'Job' })

export type Job = z.output<typeof job>
export type JobKind = (typeof jobKinds)[number]
export type JobState = (typeof jobStates)[number]
