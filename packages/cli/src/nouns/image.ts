/** The table of `kvasir image`. */
import type { Verbs } from '../command.ts'
import { detachFlag } from '../follow-job.ts'

const image = { name: 'IMAGE', completes: 'image' } as const
const nameFlag = { summary: 'What to call the image.', value: 'NAME' } as const
const formatFlag = {
  summary: 'The format, when it is not to be recognised.',
  value: 'FORMAT',
  completes: ['raw', 'qcow2', 'vmdk', 'vhdx', 'vdi'],
} as const
const actions = () => import('../image/images.ts')

export const imageVerbs: Verbs = {
  list: { summary: 'All images.', load: async () => (await actions()).listImages },
  show: { summary: 'One image.', arguments: [image], load: async () => (await actions()).showImage },
  build: {
    summary: 'Build an image from Debian packages.',
    examples: ['image build tiny', 'image build debian-13'],
    arguments: [{ name: 'RECIPE', completes: ['tiny', 'debian-12', 'debian-13'] }],
    flags: { name: nameFlag, ...detachFlag },
    load: async () => (await actions()).buildImage,
  },
  import: {
    summary: 'Import a disk image from a file of the host.',
    examples: ['image import ./disk.qcow2 --name mine', 'image import ./disk.img --format raw'],
    arguments: [{ name: 'FILE', completes: 'file' }],
    flags: { name: nameFlag, format: formatFlag, ...detachFlag },
    load: async () => (await actions()).importImage,
  },
  pull: {
    summary: 'Import a disk image from a URL; its checksum is required.',
    examples: ['image pull https://example.org/disk.qcow2 --sha256 0123... --name mine'],
    arguments: [{ name: 'URL' }],
    flags: {
      sha256: { summary: 'The SHA-256 of the file.', value: 'DIGEST' },
      name: nameFlag,
      format: formatFlag,
      'allow-private': { summary: 'Allow addresses of private networks.' },
      ...detachFlag,
    },
    load: async () => (await actions()).pullImage,
  },
  delete: {
    summary: 'Delete an image that nothing is based on.',
    arguments: [image],
    flags: { yes: { summary: 'Do not ask.', short: 'y' } },
    load: async () => (await actions()).deleteImage,
  },
}
