/** The table of `kvasir snapshot`. */
import type { Verbs } from '../command.ts'
import { detachFlag } from '../follow-job.ts'

const vm = { name: 'VM', completes: 'vm' } as const
const snapshot = { name: 'SNAPSHOT' } as const
const yes = { summary: 'Do not ask.', short: 'y' } as const
const actions = () => import('../snapshot/snapshots.ts')

export const snapshotVerbs: Verbs = {
  list: {
    summary: 'The snapshots of a VM.',
    arguments: [vm],
    load: async () => (await actions()).listSnapshots,
  },
  tree: {
    summary: 'The snapshots of a VM as a tree, with the place that it is at.',
    arguments: [vm],
    load: async () => (await import('../snapshot/tree.ts')).showTree,
  },
  show: {
    summary: 'One snapshot.',
    arguments: [vm, snapshot],
    load: async () => (await actions()).showSnapshot,
  },
  create: {
    summary: 'Take a snapshot of all disks at one instant; the VM may run.',
    examples: [
      'snapshot create web1 before-upgrade',
      'snapshot create web1 clean --quiesce --description "file systems at rest"',
    ],
    arguments: [vm, snapshot],
    flags: {
      description: { summary: 'What it is for.', value: 'TEXT' },
      memory: { summary: 'The memory of the running guest too, which stands until it is written.' },
      quiesce: { summary: 'Let the guest agent freeze the file systems of a running guest meanwhile.' },
      ...detachFlag,
    },
    load: async () => (await actions()).createSnapshot,
  },
  revert: {
    summary: 'Bring the disks of a VM back to a snapshot; one that runs is started again.',
    examples: ['snapshot revert web1 before-upgrade', 'snapshot revert web1 before-upgrade --keep'],
    arguments: [vm, snapshot],
    flags: { keep: { summary: 'Keep what the disks hold now as volumes of their own.' }, yes, ...detachFlag },
    load: async () => (await actions()).revertSnapshot,
  },
  delete: {
    summary: 'Delete a snapshot; what the disks hold now stays.',
    arguments: [vm, snapshot],
    flags: { yes, ...detachFlag },
    load: async () => (await actions()).deleteSnapshot,
  },
}
