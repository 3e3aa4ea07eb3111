/** The guest's clock: what the RTC shows at start, and what happens to ticks that the guest missed. */
import type { HardwareInput } from './hardware.ts'

/** The arguments for the RTC. */
export function clockArgs(input: HardwareInput): readonly string[] {
  const { base, drift } = input.spec.clock
  return [
    '-rtc',
    `base=${base},driftfix=${drift}`,
    // KVM's own timer replays missed ticks unless told otherwise, which makes a resumed guest's clock race.
    ...(input.accelerator === 'kvm' && input.spec.machine.type === 'q35'
      ? ['-global', 'kvm-pit.lost_tick_policy=delay']
      : []),
  ]
}
