/** Versions of QEMU and of its machines, compared as numbers. */
import type { QemuCapabilities } from './qemu-capabilities.ts'

/** The oldest QEMU that plans are made for. */
export const oldestQemu = [7, 2] as const

/** Orders version texts such as `7.2` and `10.0` by number: negative when `a` is older. */
export function compareVersions(a: string, b: string): number {
  const left = a.split('.').map(Number)
  const right = b.split('.').map(Number)
  for (let i = 0; i < Math.max(left.length, right.length); i += 1) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

/** Whether the QEMU at hand is at least a version. */
export function isAtLeast(qemu: QemuCapabilities, [major, minor]: readonly [number, number]): boolean {
  return qemu.version[0] > major || (qemu.version[0] === major && qemu.version[1] >= minor)
}

/** Whether the QEMU at hand is known to lack a class: its modules are packages of their own. */
export function lacksType({ types }: QemuCapabilities, type: string): boolean {
  return types !== undefined && !types.includes(type)
}
