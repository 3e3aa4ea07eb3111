/**
 * Hands a file to a running QEMU, which sees no path of the host: opened here, sent over the monitor, found again by a label of ours.
 *
 * QEMU opens it as `/dev/fdset/N` with exactly the access that it was opened with. What nothing in QEMU has open any more goes with its
 * last monitor, so a file that a daemon passed and died is not left behind (QEMU 7.2: monitor/fds.c).
 */
import { sendDescriptor } from '@kvasir/linux'
import type { QmpClient } from '@kvasir/qmp'
import type { Descriptor } from '../../model/qemu/emulator-plan.ts'
import { openGuarded } from '../pools/open-guarded.ts'
import { openForGuest } from './open-descriptors.ts'

/** A file and the UID of the QEMU that gets it. */
interface FileForQemu {
  readonly file: Extract<Descriptor, { kind: 'file' }>
  readonly user: number
}

/** Passes a file, and answers the name by which QEMU opens it. `host-failed` for a file that cannot be opened. */
export async function passFile(
  monitor: QmpClient,
  { file, label, user }: FileForQemu & { readonly label: string },
): Promise<string> {
  await using undo = new AsyncDisposableStack()
  const descriptor = await openFor({ file, user }, undo)
  const answer = await monitor.executeBeside('add-fd', {
    args: { opaque: label },
    send: (socket, text) => sendDescriptor(socket, { text, descriptor }),
  })
  return `/dev/fdset/${answer['fdset-id']}`
}

/** Opens a file and closes it again. `host-failed` or `pool-unreachable` for one that could not be passed. */
export async function requireOpenable(wanted: FileForQemu): Promise<void> {
  await using undo = new AsyncDisposableStack()
  await openFor(wanted, undo)
}

/** Opens a file for as long as it takes to hand it over; what may hang is opened by a process that can be killed. */
async function openFor({ file, user }: FileForQemu, undo: AsyncDisposableStack) {
  if (file.guarded) {
    const opened = await openGuarded(file.path, { ...file, user })
    undo.defer(() => opened.release())
    return { pid: opened.pid, fd: opened.fd }
  }
  const handle = await openForGuest(file)
  undo.defer(() => handle.close())
  return handle.fd
}

/** Takes back what was passed under labels, at the start or since; what is still in use goes when it no longer is. */
export async function takeFilesBack(monitor: QmpClient, isMeant: (label: string) => boolean): Promise<void> {
  const sets = await monitor.execute('query-fdsets')
  for (const set of sets) {
    if (!set.fds.some((one) => one.opaque !== undefined && isMeant(one.opaque))) continue
    await monitor.execute('remove-fd', { 'fdset-id': set['fdset-id'] })
  }
}

/** Takes back what was passed under one label. */
export async function takeFileBack(monitor: QmpClient, label: string): Promise<void> {
  await takeFilesBack(monitor, (one) => one === label)
}
