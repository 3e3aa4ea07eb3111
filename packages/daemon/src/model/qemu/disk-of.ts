/** Whose a block node or an object of QEMU is. */
import { type Descriptor, type EmulatorPlan, firstDescriptor } from './emulator-plan.ts'
import { isOfDisk } from './ids.ts'

/** The disk of a plan that an id belongs to. */
export function diskOf(id: string, { ids }: Pick<EmulatorPlan, 'ids'>): string | undefined {
  return Object.keys(ids.disks).find((disk) => isOfDisk(id, disk))
}

/** The disk whose passphrase QEMU says is wrong when it starts, in what it wrote last (crypto/block-luks.c); '' when it does not say whose. */
export function lockedDisk(log: string, plan: Pick<EmulatorPlan, 'ids'>): string | undefined {
  const line = log.split('\n').find((one) => /Invalid password, cannot unlock any keyslot/.test(one))
  if (line === undefined) return undefined
  const node = /"node-name":"([^"]+)"/.exec(line)?.[1] ?? ''
  return diskOf(node, plan) ?? ''
}

/** The file of a plan that a sentence of QEMU is about, which knows it as an fd set; each set has the number of its descriptor. */
export function fileIn(
  sentence: string,
  { descriptors }: Pick<EmulatorPlan, 'descriptors'>,
): Extract<Descriptor, { readonly kind: 'file' }> | undefined {
  const [, number] = /\/dev\/fdset\/(\d+)/.exec(sentence) ?? []
  const found = number === undefined ? undefined : descriptors[Number(number) - firstDescriptor]
  return found?.kind === 'file' ? found : undefined
}

/** What a Ceph did not let QEMU do when it started. */
export interface CephRefusal {
  /** '' when it is not known whose. */
  readonly disk: string
  /** `pool` or `pool/namespace`. */
  readonly place: string
  readonly image: string
  readonly user: string
  /** What librbd says of it. */
  readonly words: string
  /** The user may not do it. */
  readonly isForbidden: boolean
}

/** The image of Ceph that QEMU could not open when it started, in what it wrote last (block/rbd.c); undefined when that is not why. */
export function cephRefusal(log: string, plan: Pick<EmulatorPlan, 'ids'>): CephRefusal | undefined {
  for (const line of log.split('\n')) {
    const [, options = '', words = ''] =
      /-blockdev (\{"driver":"rbd",.*\}): (?:error|failed)[^:]*: (.+)$/.exec(line) ?? []
    const wordOf = (key: string) => new RegExp(`"${key}":"([^"]*)"`).exec(options)?.[1]
    const image = wordOf('image')
    if (image === undefined) continue
    return {
      disk: diskOf(wordOf('node-name') ?? '', plan) ?? '',
      place: [wordOf('pool'), wordOf('namespace')].filter((part) => part !== undefined).join('/'),
      image,
      user: wordOf('user') ?? '',
      words,
      isForbidden: /Operation not permitted|Permission denied/.test(words),
    }
  }
  return undefined
}
