/** Images of a simulated machine: made of nothing, in a few steps. */
import { createHash } from 'node:crypto'
import { type Image, KvasirError } from '@kvasir/contract'
import type { ImageFiles, ImageMakers, WorkOptions } from '../ports/images.ts'
import type { SimulatedMachine } from './machine.ts'

const root = '/simulated/images'
const mib = 2 ** 20

/** The files of the images. */
export function createSimulatedImageFiles(machine: SimulatedMachine): ImageFiles {
  return {
    list: async () => ({ images: [...machine.images.values()], unreadable: [] }),
    paths: (id) => ({
      kernel: `${root}/${id}/kernel`,
      initrd: `${root}/${id}/initrd`,
      disk: `${root}/${id}/disk.qcow2`,
    }),
    async remove(id) {
      machine.images.delete(id)
    },
    sweep: async () => {},
  }
}

/** The makers of images. `importFile` takes any path but those that end in `.bad`, and finds nothing below `/missing`. */
export function createSimulatedImageMakers(machine: SimulatedMachine): ImageMakers {
  async function publish(image: Omit<Image, 'id' | 'createdAt'>, options: WorkOptions): Promise<Image> {
    for (const [step, fraction] of [
      ['fetching', 0.2],
      ['writing', 0.6],
      ['publishing', 1],
    ] as const) {
      await machine.clock.sleep(machine.stepMs, options.signal)
      options.signal.throwIfAborted()
      options.onProgress(step, fraction)
    }
    const id = digest(image.source)
    const known = machine.images.get(id)
    if (known) return known
    const made = { ...image, id, createdAt: machine.clock.now() }
    machine.images.set(id, made)
    return made
  }

  return {
    build: (recipe, name, options) =>
      publish(recipe === 'tiny' ? tinyImage(name) : diskImage(name, `recipe ${recipe}`), options),
    async importFile({ path, name }, options) {
      if (path.startsWith('/missing'))
        throw new KvasirError('file-not-found', `There is no file ${path}, so nothing was imported.`)
      if (path.endsWith('.bad'))
        throw new KvasirError('image-refused', `${path} is not a disk image, so it was not imported.`)
      return await publish(diskImage(name, `file ${path}`), options)
    },
    pull: ({ url, name }, options) => publish(diskImage(name, url), options),
  }
}

function tinyImage(name: string): Omit<Image, 'id' | 'createdAt'> {
  return {
    name,
    os: 'tiny',
    release: '1',
    version: '1',
    architecture: 'x86_64',
    source: 'recipe tiny',
    boot: 'kernel',
    firmware: ['bios'],
    cmdline: 'console=ttyS0',
    kernel: { sha256: digest('kernel'), sizeBytes: 8 * mib },
    initrd: { sha256: digest('initrd'), sizeBytes: 4 * mib },
  }
}

function diskImage(name: string, source: string): Omit<Image, 'id' | 'createdAt'> {
  return {
    name,
    os: 'debian',
    release: '13',
    version: '13',
    architecture: 'x86_64',
    source,
    boot: 'disk',
    firmware: ['bios', 'uefi'],
    disk: {
      sha256: digest(source),
      sizeBytes: 300 * mib,
      virtualSizeBytes: 2048 * mib,
      format: 'qcow2',
    },
  }
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
