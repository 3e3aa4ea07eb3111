/** How the tools of Ceph are told what is meant: by flags for each part, so that no name is taken for a path. */
import type { CephPlace } from '../../model/storage/ceph-place.ts'

/** The flags that name a Ceph pool and a namespace in it. */
export function poolFlags({ cephPool, namespace }: CephPlace): readonly string[] {
  return ['--pool', cephPool, ...(namespace === undefined ? [] : ['--namespace', namespace])]
}

/** The flags that name an image. */
export function imageFlags(place: CephPlace, image: string): readonly string[] {
  return [...poolFlags(place), '--image', image]
}
