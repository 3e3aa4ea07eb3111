/** The table of `kvasir volume`. */
import type { Verbs } from '../command.ts'

const volume = { name: 'VOLUME', completes: 'volume' } as const
const actions = () => import('../volume/volumes.ts')

export const volumeVerbs: Verbs = {
  list: { summary: 'The volumes of the default pool.', load: async () => (await actions()).listVolumes },
  show: { summary: 'One volume.', arguments: [volume], load: async () => (await actions()).showVolume },
  create: {
    summary: 'Create an empty volume, or one on an image.',
    examples: ['volume create data1 --size 20GiB', 'volume create root1 --image debian-13'],
    arguments: [{ name: 'VOLUME' }],
    flags: {
      size: { summary: 'Its size, such as 20GiB.', value: 'SIZE' },
      image: { summary: 'The image that it begins as.', value: 'IMAGE', completes: 'image' },
      pool: { summary: 'The pool to make it in.', value: 'POOL' },
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
