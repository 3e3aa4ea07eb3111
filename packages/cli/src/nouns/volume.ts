/** The table of `kvasir volume`. */
import type { Verbs } from '../command.ts'

const volume = { name: 'VOLUME', completes: 'volume' } as const
const poolFlag = {
  summary: 'The pool, where the name does not say it.',
  value: 'POOL',
  completes: 'pool',
} as const
const actions = () => import('../volume/volumes.ts')

export const volumeVerbs: Verbs = {
  list: {
    summary: 'The volumes of all pools, or of one.',
    flags: { pool: poolFlag },
    load: async () => (await actions()).listVolumes,
  },
  show: { summary: 'One volume.', arguments: [volume], load: async () => (await actions()).showVolume },
  create: {
    summary: 'Create an empty volume, or one on an image.',
    examples: [
      'volume create data1 --size 20GiB',
      'volume create root1 --image debian-13',
      'volume create fast/data2 --size 1TiB --format raw',
    ],
    arguments: [{ name: 'VOLUME' }],
    flags: {
      size: { summary: 'Its size, such as 20GiB.', value: 'SIZE' },
      image: { summary: 'The image that it begins as.', value: 'IMAGE', completes: 'image' },
      pool: poolFlag,
      format: { summary: 'Its format; qcow2 unless said.', value: 'FORMAT', completes: ['qcow2', 'raw'] },
      preallocation: {
        summary: 'What of its space is taken at once.',
        value: 'HOW',
        completes: ['none', 'metadata', 'full'],
      },
      'cluster-size': { summary: 'Of qcow2: 512 to 2MiB, a power of two.', value: 'SIZE' },
      'lazy-refcounts': { summary: 'Of qcow2: faster, and repaired after a crash.' },
    },
    load: async () => (await actions()).createVolume,
  },
  delete: {
    summary: 'Delete a volume that nobody uses.',
    arguments: [volume],
    flags: { yes: { summary: 'Do not ask.', short: 'y' } },
    load: async () => (await actions()).deleteVolume,
  },
}
