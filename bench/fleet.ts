/** Many VMs that run and leave the CPUs alone: each is started and paused before its guest has done anything, but for a few. */
import type { BenchDaemon } from './bench-daemon.ts'

/** A guest that has all the usual devices but no disk and no NIC, so that a hundred fit on a small machine. */
const spec = { image: 'tiny', memory: { size: '128MiB' }, devices: { vsock: false } } as const

/** Starts the VMs `from` up to `to`, not included; those below `running` go on running. */
export async function startFleet(
  daemon: BenchDaemon,
  { from, to, running }: { readonly from: number; readonly to: number; readonly running: number },
): Promise<void> {
  for (let number = from; number < to; number++) {
    const name = fleetName(number)
    await daemon.createVm(name, spec)
    await daemon.startVm(name)
    if (number >= running) await daemon.pauseVm(name)
  }
}

/** The name of a VM of the fleet. */
export function fleetName(number: number): string {
  return `fleet${String(number).padStart(3, '0')}`
}
