import { KvasirError } from '@kvasir/contract'
import type { BuildOptions, ResolvedRecipe } from './recipe.ts'

/** The releases that can be built. */
export const debianReleases = {
  'debian-12': { suite: 'bookworm', version: '12' },
  'debian-13': { suite: 'trixie', version: '13' },
} as const

/** One of the releases. */
export type DebianRelease = (typeof debianReleases)[keyof typeof debianReleases]

/** Settles what the image would be built from. */
export function resolveDebian(release: DebianRelease, options: BuildOptions): Promise<ResolvedRecipe> {
  void options
  throw new KvasirError('unsupported', `Debian ${release.version} cannot be built yet.`)
}
