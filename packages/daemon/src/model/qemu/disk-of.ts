/** Whose a block node or an object of QEMU is. */
import type { EmulatorPlan } from './emulator-plan.ts'
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
