/** What every recipe of `image build` takes and gives. Not here: the recipes themselves (build-tiny.ts, build-debian.ts). */
import type { Image } from '@kvasir/contract'
import type { WorkOptions } from '../../ports/images.ts'
import type { WorkDir } from './work-dir.ts'

/** Where a build works, and how its caller watches and stops it. */
export interface BuildOptions extends WorkOptions {
  readonly work: WorkDir
}

/** Where a build puts what it made; only the files that the image has are written. */
export interface BuildPaths {
  readonly kernel: string
  readonly initrd: string
  readonly disk: string
}

/** What a recipe knows of what it built; digests and sizes are added by the shelf. */
export type BuiltImage = Pick<
  Image,
  'os' | 'release' | 'version' | 'architecture' | 'boot' | 'firmware' | 'source'
> & { readonly cmdline?: string; readonly virtualSizeBytes?: number }

/**
 * A recipe with its ingredients settled: two with the same `source` build the same image, so the second need not be built. A recipe
 * whose ingredients are not known beforehand has no `source`.
 */
export interface ResolvedRecipe {
  readonly source: string | undefined
  readonly build: (into: BuildPaths) => Promise<BuiltImage>
}
