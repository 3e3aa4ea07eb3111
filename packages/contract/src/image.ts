/** Images: immutable templates that volumes are made from, named by what they contain. */
import { z } from 'zod'
import { resourceName, sha256 } from './names.ts'
import { bytes, timestamp } from './units.ts'

const imageFile = z.strictObject({ sha256, sizeBytes: bytes }).meta({ id: 'ImageFile' })

/** An image. `id` is the SHA-256 of its files' digests: the same content is the same image. */
export const image = z
  .strictObject({
    id: sha256,
    name: resourceName,
    os: z.string(),
    release: z.string(),
    version: z.string(),
    architecture: z.enum(['x86_64', 'aarch64']),
    createdAt: timestamp,
    source: z.string().meta({ description: 'Where it came from: a recipe, a file, a URL.' }),
    boot: z.enum(['kernel', 'disk']),
    firmware: z.array(z.enum(['bios', 'uefi'])),
    cmdline: z.string().optional(),
    kernel: imageFile.optional(),
    initrd: imageFile.optional(),
    disk: z
      .strictObject({ sha256, sizeBytes: bytes, virtualSizeBytes: bytes, format: z.enum(['qcow2']) })
      .optional(),
  })
  .meta({ id: 'Image' })

export type Image = z.output<typeof image>

/** The recipes that `image build` knows. */
export const imageRecipes = ['tiny', 'debian-12', 'debian-13'] as const
export type ImageRecipe = (typeof imageRecipes)[number]

/** The formats that `image import` reads. */
export const importFormats = ['raw', 'qcow2', 'vmdk', 'vhdx', 'vdi'] as const
export type ImportFormat = (typeof importFormats)[number]
