/** The table of `kvasir checkpoint`. */
import type { Verbs } from '../command.ts'

const vm = { name: 'VM', completes: 'vm' } as const
const checkpoint = { name: 'CHECKPOINT' } as const
const actions = () => import('../checkpoint/checkpoints.ts')

export const checkpointVerbs: Verbs = {
  list: {
    summary: 'The checkpoints of a VM, and what changed since each.',
    arguments: [vm],
    load: async () => (await actions()).listCheckpoints,
  },
  create: {
    summary: 'Note from now on what is written to the disks of a running VM, for `vm export --since`.',
    examples: ['checkpoint create web1 monday'],
    arguments: [vm, checkpoint],
    flags: {
      description: { summary: 'What it is for.', value: 'TEXT' },
      disk: { summary: 'These disks instead of all.', value: 'DISK', multiple: true },
    },
    load: async () => (await actions()).createCheckpoint,
  },
  delete: {
    summary: 'Delete a checkpoint.',
    arguments: [vm, checkpoint],
    load: async () => (await actions()).deleteCheckpoint,
  },
}
