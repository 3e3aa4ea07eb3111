/** What every recipe of `image build` takes and gives. Not here: the recipes themselves (build-tiny.ts, build-debian.ts). */
import type { Image } from '@kvasir/contract'

/** How far a build is: what it does now, in words, and the fraction (0 to 1) that is done. */
export interface BuildProgress {
  readonly step: string
  readonly fraction: number
}

/** Where a build works and how its caller watches and stops it. */
export interface BuildOptions {
  /** A directory of the daemon's own: downloads stay in it, everything else is removed when the build ends. */
  readonly cacheDir: string
  readonly signal: AbortSignal
  readonly onProgress: (progress: BuildProgress) => void
}

/** Files that make an image, and what is known about them; digests and sizes are added by the image store. */
export type BuiltImage = Pick<Image, 'os' | 'release' | 'version' | 'architecture' | 'boot' | 'firmware'> & {
  readonly cmdline?: string
  readonly files: { readonly kernel?: string; readonly initrd?: string; readonly disk?: string }
}

/** A recipe with its ingredients settled: two with the same `source` build the same image, so the second need not be built. */
export interface ResolvedRecipe {
  readonly source: string
  readonly build: (into: string) => Promise<BuiltImage>
}
