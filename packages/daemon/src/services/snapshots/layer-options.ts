/** How a layer that comes to a running VM is opened: as the rest of its disk was. */
import type { VmSpec } from '@kvasir/contract'
import { aioOption, chooseAio } from '../../model/qemu/aio.ts'
import { type CacheChoice, cacheOptions, chooseCache } from '../../model/qemu/cache.ts'
import type { LayerOptions } from '../../ports/emulator-blocks.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord, VolumeRecord } from '../../ports/store.ts'
import { usablePlace } from '../pools/usable-pool.ts'

/** A disk and the volume that comes to it. */
export interface ComingLayer {
  readonly disk: VmSpec['disks'][number]
  readonly volume: Pick<VolumeRecord, 'encryption' | 'pool' | 'liesIn'>
}

/** Whether what a disk's layer is asked goes through the page cache. */
export function cacheOf({ disk, volume }: ComingLayer, ports: Ports): CacheChoice {
  const { directIo, isLocal = false } = usablePlace(volume, ports)
  return chooseCache(disk, { isLocal, directIo: ports.files.directIo && directIo })
}

/** The options of a disk's layer. */
export function layerOptions(
  { disk, volume }: ComingLayer,
  { run }: Pick<VmRecord, 'run'>,
  ports: Ports,
): LayerOptions {
  const { encryption } = volume
  const { isGuarded } = usablePlace(volume, ports)
  const { direct, 'no-flush': noFlush } = cacheOptions(cacheOf({ disk, volume }, ports))
  const hasIoUring = run?.emulator.plan.ids.disks[disk.name]?.aio?.mode === 'io_uring'
  const noIoUring = hasIoUring ? undefined : 'it was started without'
  const layer = { source: { path: '', format: 'qcow2' as const }, direct, noIoUring }
  return {
    direct,
    detectZeroes: disk.detectZeroes,
    aio: aioOption(chooseAio(disk, layer)),
    guarded: isGuarded,
    noFlush,
    discard: disk.discard,
    ...(encryption === undefined ? {} : { encryption }),
  }
}
