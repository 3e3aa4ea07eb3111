/** The devices of the host that a VM has: those that its spec calls so, and the virtual functions that are its NICs. */
import type { Hardware } from '../qemu/hardware.ts'

/** Their addresses. */
export function addressesGiven(
  hardware: Pick<Hardware, 'hostDevices' | 'vfs'> | undefined,
): readonly string[] {
  const vfs = Object.values(hardware?.vfs ?? {}).map(({ address }) => address)
  return [...Object.values(hardware?.hostDevices ?? {}), ...vfs]
}
