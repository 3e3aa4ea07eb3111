/** Where images come from, and where their files lie. */
import type { Image, ImageRecipe, ImportFormat } from '@kvasir/contract'

/** How far a long piece of work is. */
export interface WorkOptions {
  readonly signal: AbortSignal
  readonly onProgress: (step: string, fraction: number | undefined) => void
}

/** The immutable files of images, each in a folder named by the image's id. */
export interface ImageFiles {
  list(): Promise<{
    readonly images: readonly Image[]
    readonly unreadable: readonly { readonly id: string; readonly reason: string }[]
  }>
  /** Where the files of an image lie. */
  paths(id: string): { readonly kernel: string; readonly initrd: string; readonly disk: string }
  remove(id: string): Promise<void>
  /** Removes what unfinished work left behind. */
  sweep(): Promise<void>
}

/** Makers of images. Each publishes atomically and answers the image; the same content answers the image that is already there. */
export interface ImageMakers {
  build(recipe: ImageRecipe, name: string, options: WorkOptions): Promise<Image>
  /** `KvasirError('image-refused')` for what is not an acceptable image. */
  importFile(
    request: { readonly path: string; readonly name: string; readonly format: ImportFormat | undefined },
    options: WorkOptions,
  ): Promise<Image>
  pull(
    request: {
      readonly url: string
      readonly sha256: string
      readonly name: string
      readonly format: ImportFormat | undefined
      readonly allowPrivate: boolean
    },
    options: WorkOptions,
  ): Promise<Image>
}
