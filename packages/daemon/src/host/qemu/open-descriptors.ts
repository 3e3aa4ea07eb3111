/**
 * What QEMU inherits: listening sockets, disks and devices, opened by root in the order of the plan, closed here once QEMU has its own.
 */
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { KvasirError } from '@kvasir/contract'
import { connectPair, listenForChild, type SocketEnd } from '@kvasir/linux'
import type { Descriptor, TapPlan } from '../../model/qemu/emulator-plan.ts'
import type { PassedDescriptor } from '../cage/launcher-script.ts'
import { openTapsWhenFree } from '../networks/open-taps.ts'
import { openGuarded } from '../pools/open-guarded.ts'
import { type OpenShares, openShares } from './open-shares.ts'
import type { EmulatorPaths } from './runtime-directory.ts'

/** What the other end of the TPM's socket is called; no NIC's name has a space. */
export const tpmEnd = 'the TPM'

/** Descriptors to pass on, by their numbers in this process. */
export interface OpenDescriptors {
  readonly numbers: readonly PassedDescriptor[]
  /** The other ends of the NICs' sockets, by the NIC's name, and of the TPM's under `tpmEnd`. */
  readonly helperEnds: ReadonlyMap<string, SocketEnd>
  /** The ends of those that serve its shares; they stay until they are released. */
  readonly shares: OpenShares | undefined
  /** Closes our copies of what QEMU has; the helpers' ends stay. */
  release(): Promise<void>
}

/** Opens all descriptors of a plan, in its order. `host-failed` for a file that cannot be opened. */
export async function openDescriptors(
  wanted: readonly Descriptor[],
  {
    paths,
    user,
    taps = [],
  }: { readonly paths: EmulatorPaths; readonly user: number; readonly taps?: readonly TapPlan[] },
): Promise<OpenDescriptors> {
  await using undo = new AsyncDisposableStack()
  const helperEnds = new Map<string, SocketEnd>()
  using failed = new DisposableStack()
  const held = taps.length === 0 ? undefined : await openTapsWhenFree(taps)
  if (held) undo.defer(() => held.release())
  const names = wanted.flatMap((one) => (one.kind === 'share' ? [one.share] : []))
  const shares = names.length === 0 ? undefined : await openShares(names, paths.directory)
  if (shares) failed.defer(() => shares.release())
  const numbers = await Promise.all(
    wanted.map(async (descriptor) => {
      if (descriptor.kind === 'listener') {
        const listener = await listenForChild(paths.socket(descriptor.socket))
        undo.defer(() => listener.release())
        return listener.fd
      }
      if (descriptor.kind === 'nic') {
        const [end, helperEnd] = await connectPair(paths.directory)
        undo.defer(() => end.release())
        failed.defer(() => helperEnd.release())
        helperEnds.set(descriptor.nic, helperEnd)
        return end.fd
      }
      if (descriptor.kind === 'tpm') {
        const [end, helperEnd] = await connectPair(paths.directory)
        undo.defer(() => end.release())
        failed.defer(() => helperEnd.release())
        helperEnds.set(tpmEnd, helperEnd)
        return end.fd
      }
      if (descriptor.kind === 'tap') {
        const fd = held?.queues.get(descriptor.tap)?.[descriptor.queue]
        if (held === undefined || fd === undefined)
          throw new TypeError(`Tap ${descriptor.tap} is not in the plan.`)
        return { pid: held.pid, fd }
      }
      if (descriptor.kind === 'share') {
        const ends = shares?.ends.get(descriptor.share)
        if (ends === undefined) throw new TypeError(`Share ${descriptor.share} is not in the plan.`)
        return ends.connected
      }
      if (descriptor.kind === 'file' && descriptor.guarded) {
        const file = await openGuarded(descriptor.path, { ...descriptor, user })
        undo.defer(() => file.release())
        return { pid: file.pid, fd: file.fd }
      }
      const file = await openForGuest(descriptor)
      undo.defer(() => file.close())
      return file.fd
    }),
  )
  const stack = undo.move()
  failed.move()
  return { numbers, helperEnds, shares, release: () => stack.disposeAsync() }
}

/** Opens a file or device as QEMU is to have it. `host-failed` when that does not go. */
export async function openForGuest(
  descriptor: Exclude<Descriptor, { kind: 'listener' | 'nic' | 'tap' | 'tpm' | 'share' }>,
): Promise<FileHandle> {
  const isRead = descriptor.kind === 'file' && descriptor.access === 'read'
  // From QEMU 9.1 a node with cache.direct takes only a descriptor that has the flag already.
  const direct = descriptor.kind === 'file' && descriptor.direct ? constants.O_DIRECT : 0
  try {
    return await open(descriptor.path, (isRead ? constants.O_RDONLY : constants.O_RDWR) | direct)
  } catch (cause) {
    throw new KvasirError('host-failed', `${descriptor.path} cannot be opened, so the VM does not get it.`, {
      cause,
    })
  }
}
