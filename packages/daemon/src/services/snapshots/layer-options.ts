/** How a layer that comes to a running VM is opened: as the rest of its disk was. */
import type { VmSpec } from '@kvasir/contract'
import { aioOption, chooseAio } from '../../model/qemu/aio.ts'
import type { LayerOptions } from '../../ports/emulator-blocks.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord, VolumeRecord } from '../../ports/store.ts'
import { usablePlace } from '../pools/usable-pool.ts'

/** A disk and the volume that comes to it. */
export interface ComingLayer {
  readonly disk: VmSpec['disks'][number]
  readonly volume: Pick<VolumeRecord, 'encryption' | 'pool' | 'liesIn'>
}

/** The options of a disk's layer. */
export function layerOptions(
  { disk, volume }: ComingLayer,
  { run }: Pick<VmRecord, 'run'>,
  ports: Ports,
): LayerOptions {
  const { encryption } = volume
  const { directIo, isGuarded } = usablePlace(volume, ports)
  const direct = disk.cache === 'none' && ports.files.directIo && directIo
  const hasIoUring = run?.emulator.plan.ids.disks[disk.name]?.aio?.mode === 'io_uring'
  const noIoUring = hasIoUring ? undefined : 'it was started without'
  const layer = { source: { path: '', format: 'qcow2' as const }, direct, noIoUring }
  return {
    direct,
    detectZeroes: disk.detectZeroes,
    aio: aioOption(chooseAio(disk, layer)),
    guarded: isGuarded,
    noFlush: disk.cache === 'unsafe',
    discard: disk.discard,
    ...(encryption === undefined ? {} : { encryption }),
  }
}
