/** What carries the requests of a disk now, where its volume came to it while its VM ran: by a move, or as a layer over it. */
import type { VolumeSource } from '../storage/volume-source.ts'
import type { AioChoice } from './aio.ts'

/**
 * The choice that holds: that of the start, unless the volume of now is of a kind that it cannot be about. `layer` is how a file that
 * comes to a running VM is opened; nothing of it stands for threads.
 */
export function aioNow(
  started: AioChoice,
  {
    source,
    layer,
  }: { readonly source: VolumeSource; readonly layer: 'native' | 'io_uring' | 'threads' | undefined },
): AioChoice {
  if (source.kind === 'protocol')
    return started.mode === 'driver'
      ? started
      : { mode: 'driver', reason: `QEMU speaks ${source.driver} to the storage itself` }
  const mode = layer ?? 'threads'
  const isOfStart = started.mode === mode || (started.mode !== 'driver' && source.kind === 'device')
  return isOfStart ? started : { mode, reason: 'its volume came to it while the VM ran' }
}
