/** What a pool that is asked for is made of, as its row remembers it. */
import { resolve } from 'node:path'
import type { NewPool } from '@kvasir/contract'
import type { PoolSource } from '../../ports/store.ts'

/** The source of a new pool. */
export function poolSource(wanted: NewPool): PoolSource {
  switch (wanted.type) {
    case 'dir':
      return { type: 'dir', path: resolve(wanted.path) }
    case 'lvm':
      return { type: 'lvm', vg: wanted.vg, devices: wanted.devices }
    case 'lvm-thin': {
      const { vg, devices, thinPool, size } = wanted
      return { type: 'lvm-thin', vg, devices, thinPool, sizeBytes: size }
    }
  }
}
