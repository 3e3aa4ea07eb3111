/**
 * Making a clone of an RBD image on a cluster that may be slow: looks, does the next step, and looks again when Ceph says that something is
 * there already or is missing, since a step that ended late may have been carried out after all.
 *
 * Not here: what the next step is (model/storage/clone-step.ts), the commands (rbd-images.ts).
 */
import { setTimeout as pause } from 'node:timers/promises'
import { KvasirError } from '@kvasir/contract'
import type { CephPlace } from '../../model/storage/ceph-place.ts'
import { hasChild, isClone } from '../../model/storage/ceph-report.ts'
import { type CloneSight, cloneStep } from '../../model/storage/clone-step.ts'
import { imageFlags } from './ceph-flags.ts'
import { type CephTools, cephErrorOf, cephErrors } from './ceph-tools.ts'

const attempts = 4
const againMs = 500

/** What is looked at and done to one origin and one copy. */
export interface CloneHands {
  isKept(): Promise<boolean>
  /** What there is of the copy, when something is kept for it or not. */
  copy(isKept: boolean): Promise<CloneSight['copy']>
  keep(): Promise<void>
  clone(): Promise<void>
  remove(): Promise<void>
  /** No error when nothing is kept. */
  letGo(): Promise<void>
}

/** The two images. */
export interface ClonePair {
  readonly name: string
  readonly origin: string
}

/** Makes the copy of what was kept for it, or of what the origin holds now. Whatever an earlier attempt came to, the end is the same. */
export async function makeClone(pair: ClonePair, hands: CloneHands): Promise<void> {
  const wasKept = await hands.isKept()
  try {
    for (let attempt = 1; ; attempt++) {
      try {
        await attemptClone(pair, hands, { wasKept, isFirst: attempt === 1 })
        break
      } catch (error) {
        if (!mayBeLate(error) || attempt === attempts) throw error
      }
      await pause(againMs)
    }
  } catch (error) {
    if (!wasKept) await hands.letGo().catch(() => {}) // What made it fail says more.
    throw error
  }
  await hands.letGo()
}

async function attemptClone(
  { name, origin }: ClonePair,
  hands: CloneHands,
  known: Pick<CloneSight, 'wasKept' | 'isFirst'>,
): Promise<void> {
  const isKept = known.isFirst ? known.wasKept : await hands.isKept()
  const step = cloneStep({ ...known, isKept, copy: await hands.copy(isKept) })
  if (step === 'let-go') return
  if (step === 'name-taken')
    throw new KvasirError(
      'host-failed',
      `There is an RBD image ${name} already, so none is made of ${origin}.`,
    )
  if (step === 'lost')
    throw new KvasirError(
      'host-failed',
      `What was kept of RBD image ${origin} for ${name} is not there any more, so the copy is not made.`,
    )
  if (step === 'remove-and-clone' || step === 'remove-keep-and-clone') await hands.remove()
  if (step === 'keep-and-clone' || step === 'remove-keep-and-clone') await hands.keep()
  await hands.clone()
}

function mayBeLate(error: unknown): boolean {
  const number = cephErrorOf(error)
  return number === cephErrors.missing || number === cephErrors.exists
}

/** What there is of a clone: one that its origin does not know of yet would be lost with the snapshot that it reads through. */
export async function copyState(
  tools: CephTools,
  where: CephPlace,
  { name, kept }: { readonly name: string; readonly kept: readonly string[] | undefined },
): Promise<CloneSight['copy']> {
  const report = await tools.ask('rbd', 'info', ...imageFlags(where, name)).catch((error: unknown) => {
    if (cephErrorOf(error) === cephErrors.missing) return undefined
    throw error
  })
  if (report === undefined) return 'none'
  if (!isClone(report)) return 'partial'
  if (kept === undefined) return 'whole'
  const children = await tools.ask('rbd', 'children', ...kept).catch((error: unknown) => {
    // A user who may not look for children in other Ceph pools is not told of those in this one either.
    if (missesRights(error)) return []
    throw error
  })
  const { cephPool, namespace } = where
  return hasChild(children, { cephPool, namespace, image: name }) ? 'whole' : 'partial'
}

function missesRights(error: unknown): boolean {
  const number = cephErrorOf(error)
  return number === cephErrors.notPermitted || number === cephErrors.denied
}
