/** Starting from saved memory: QEMU reads it from a descriptor before the guest runs, and then stays paused. */
import type { BuildContext } from './build-context.ts'
import { isAtLeast } from './version.ts'

/** The arguments for restoring. Files by `fd:` are deprecated from QEMU 9.1, which has `file:` with an fd set. */
export function restoreArgs({ input, descriptors }: BuildContext): readonly string[] {
  if (input.restorePath === undefined) return []
  const descriptor = { kind: 'file', path: input.restorePath, access: 'read', direct: false } as const
  if (isAtLeast(input.qemu, [9, 1])) {
    const set = descriptors.addSet(descriptor, 'saved-memory')
    return [...set.args, '-incoming', `file:${set.path}`]
  }
  return ['-incoming', `fd:${descriptors.add(descriptor)}`]
}
