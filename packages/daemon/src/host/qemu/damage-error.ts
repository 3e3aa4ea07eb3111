/** QEMU's refusal of a damaged file, as one of ours; whose volume the file is, the services know. */
import { KvasirError } from '@kvasir/contract'
import { type Qcow2Damage, qcow2Damage } from '../../model/qemu/damaged-disk.ts'
import type { BlockNode, DiskPlan } from '../../model/qemu/disk-plan.ts'

/** `volume-damaged`, with the file and what is wrong in its details. */
export function damageError(
  { path = '', damage }: { readonly path: string | undefined; readonly damage: Qcow2Damage },
  {
    disk,
    consequence,
    cause,
  }: { readonly disk: string; readonly consequence: string; readonly cause: unknown },
): KvasirError {
  return new KvasirError(
    'volume-damaged',
    `What disk ${disk} lies on (${path === '' ? 'no file of the host' : path}) ${damage.why}, so ${consequence}.`,
    { details: { disk, path, ...damage, consequence }, cause },
  )
}

/** The same of a node that a running emulator did not take; any other error as it is. */
export function asDamage(
  error: unknown,
  { disk, nodes }: Pick<DiskPlan, 'disk' | 'nodes'>,
  { options }: BlockNode,
): unknown {
  if (!(error instanceof Error) || options.driver !== 'qcow2') return error
  const damage = qcow2Damage(error.message)
  if (damage === undefined) return error
  const storage = nodes.find((node) => node.options['node-name'] === options['file'])
  const consequence = `disk ${disk} is not plugged`
  return damageError({ path: storage?.file?.path, damage }, { disk, consequence, cause: error })
}
