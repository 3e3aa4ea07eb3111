/** To where the disks of a VM can be copied, in words for the command line. */
import type { Command } from '../command.ts'
import { detachFlag } from '../follow-job.ts'

const name = { name: 'NAME', completes: 'vm' } as const

/** The row of `kvasir vm export`. */
export const exportVerb: Command = {
  summary:
    'Copy the disks of a VM as they are at one instant to volumes, to files here or to stdout; it may run.',
  examples: [
    'vm export web1 monday --pool backups',
    'vm export web1 clean --disk data --format raw --quiesce',
    'vm export web1 data - | zstd >data.raw.zst',
    'vm export web1 --to-dir full --checkpoint monday',
    'vm export web1 --nbd /run/user/1000/web1.sock',
    'vm export web1 --nbd web1.sock --since monday --checkpoint tuesday',
    'vm export web1 --to-dir tuesday --since monday --checkpoint tuesday',
  ],
  arguments: [name, { name: 'EXPORT', optional: true }, { name: 'FILE', optional: true, completes: 'file' }],
  flags: {
    pool: { summary: 'The pool; that of each disk unless said.', value: 'POOL', completes: 'pool' },
    format: {
      summary: 'The format; that of each disk unless said.',
      value: 'FORMAT',
      completes: ['qcow2', 'raw'],
    },
    disk: { summary: 'One disk instead of all.', value: 'DISK' },
    speed: { summary: 'What is copied of a disk in a second at most, such as 50MiB.', value: 'SIZE' },
    quiesce: { summary: 'Let the guest agent freeze the file systems meanwhile.' },
    'to-dir': {
      summary: 'To files here, one for each disk, instead of volumes.',
      value: 'DIR',
      completes: 'file',
    },
    nbd: {
      summary: 'To who connects to this UNIX socket by NBD, until Ctrl-C.',
      value: 'SOCKET',
      completes: 'file',
    },
    since: {
      summary: 'To files, in qcow2, or by NBD, with a bitmap: only what changed since a checkpoint.',
      value: 'CHECKPOINT',
    },
    checkpoint: {
      summary: 'To files or by NBD: begin a checkpoint at this very instant.',
      value: 'CHECKPOINT',
    },
    force: { summary: 'Write over files that exist.' },
    ...detachFlag,
  },
  load: async () => (await import('../vm/move-disk.ts')).exportVm,
}
