/**
 * What changing each field of a spec does, as a table: the effect, and why, as a clause that can follow `because`.
 *
 * `bookkeeping` is used by the daemon alone, so it counts at once. `live` is given to the emulator while the guest runs. `boot` is
 * part of how the emulator is started. `start` is too, and the guest does not see it, so saved memory fits either way. `pinned` was
 * decided when the VM was created. A field without a row is `boot`. Where it depends on the values, the row is a function of the
 * change.
 */
import type { VmSpec } from '@kvasir/contract'
import type { PlugMemory } from '../memory/plug-memory.ts'
import type { Hardware } from '../qemu/hardware.ts'
import { channelsRule } from './channel-rules.ts'
import { pinRule, scheduled, vcpuCountRule } from './cpu-rules.ts'
import { smallDeviceRule } from './device-rules.ts'
import { mediumOr, wholeDiskRule } from './disk-rules.ts'
import { displayRule } from './display-rules.ts'
import { wholeHostDeviceRule } from './host-device-rules.ts'
import { balloonRule, ksmRule, memorySizeRule } from './memory-rules.ts'
import { cardRule, forwardsRule, guardRule, networkRule, wholeNicRule } from './nic-rules.ts'
import { wholeShareRule } from './share-rules.ts'

/** The effect of a change, with its reason. */
export interface ChangeRule {
  readonly effect: 'bookkeeping' | 'live' | 'boot' | 'start' | 'pinned'
  readonly reason: string
}

/** What a rule may look at: both specs, and what the emulator that runs was started with. */
export interface SpecChange {
  readonly from: VmSpec
  readonly to: VmSpec
  readonly plugMemory: PlugMemory | undefined
  readonly bootBytes: number | undefined
  /** What the emulator was started with, and has by now, while the guest runs or stands. */
  readonly booted: VmSpec | undefined
  readonly accelerator: 'kvm' | 'tcg' | undefined
  /** Networks whose NICs have a macvtap: none of them comes to another network, or from one, while it is plugged. */
  readonly macvtaps: ReadonlySet<string>
  /** Networks whose NICs are virtual functions, of which the same is true. */
  readonly sriovs: ReadonlySet<string>
  /** Slots of the guest that runs that are left to plug something into; undefined where that is not known. */
  readonly freePorts: number | undefined
  /** Where the devices of the guest that runs are; undefined where that is not known. */
  readonly bootedPci: Hardware['pci'] | undefined
  /** Why this host has no 3D, as a clause, where the spec asks for that. */
  readonly lacks3d: string | undefined
  /** Whether this host has no vsock. */
  readonly lacksVsock: boolean
}

type RuleOf = ChangeRule | ((change: SpecChange, path: string) => ChangeRule)

const daemonOnly = { effect: 'bookkeeping', reason: 'only the daemon uses it' } as const
const carriedOut = { effect: 'bookkeeping', reason: 'the daemon carries it out when it happens' } as const
const told = { effect: 'live', reason: 'the emulator is told while it runs' } as const
const limited = { effect: 'live', reason: 'the kernel limits its cgroup while it runs' } as const
const mappedAtStart = { effect: 'start', reason: 'memory is mapped when the emulator starts' } as const
const atStart = { effect: 'boot', reason: 'the emulator is given it when it starts' } as const

// Whether the guest reports free pages goes with it, and the guest sees that.
const heldAtStart = { effect: 'boot', reason: 'memory is taken when the emulator starts' } as const

/** The rule of each kind of field, by its path with `*` for a device's name. */
export const changeRules: Readonly<Record<string, RuleOf>> = {
  description: daemonOnly,
  labels: daemonOnly,
  'autostart.enabled': daemonOnly,
  'autostart.order': daemonOnly,
  'autostart.delaySeconds': daemonOnly,
  'lifecycle.shutdownTimeoutSeconds': daemonOnly,
  'lifecycle.onPowerOff': carriedOut,
  'lifecycle.onPanic': carriedOut,
  'lifecycle.onCrash': carriedOut,
  'lifecycle.onReboot': told,
  'lifecycle.onWatchdog': told,

  image: { effect: 'pinned', reason: 'the VM was made from its image; create another VM from the other one' },
  'machine.type': { effect: 'pinned', reason: 'the guest was installed on this machine type' },
  'machine.version': {
    effect: 'pinned',
    reason: 'the machine version was pinned at creation, so that the guest keeps its hardware',
  },
  'machine.firmware': { effect: 'pinned', reason: 'the guest boots from its disks with this firmware only' },

  'machine.secureBoot': {
    effect: 'pinned',
    reason: 'the variables of its firmware were made with the keys or without them',
  },

  accelerator: { effect: 'boot', reason: 'the accelerator is chosen when the emulator starts' },
  'cpu.placement': {
    effect: 'boot',
    reason: 'the guest reads its topology, and memory is taken from its nodes, when it boots',
  },
  'cpu.numa': { effect: 'boot', reason: 'memory is taken from its nodes when the emulator starts' },
  'cpu.weight': scheduled,
  'cpu.quotaPercent': scheduled,
  'cpu.cpus': scheduled,
  'cpu.pin': pinRule,
  'cpu.threadLimits': scheduled,
  'cpu.scheduler': scheduled,
  'cpu.count': vcpuCountRule,
  'cpu.max': { effect: 'boot', reason: 'the guest reads when it boots how many vCPUs there can be' },
  'cpu.topology': { effect: 'boot', reason: 'the guest reads its CPU topology when it boots' },
  'cpu.model': { effect: 'boot', reason: 'the guest reads its CPU model when it boots' },
  'cpu.features': { effect: 'boot', reason: 'the guest reads its CPU flags when it boots' },
  'cpu.nested': { effect: 'boot', reason: 'the guest reads its CPU flags when it boots' },
  'memory.size': memorySizeRule,
  'memory.max': {
    effect: 'boot',
    reason: 'the device that memory is plugged into is there from the boot on',
  },
  'memory.target': balloonRule,
  'memory.floor': carriedOut,
  'memory.high': limited,
  'memory.hard': limited,
  'memory.swap': limited,
  'memory.sharing': mappedAtStart,
  'memory.thp': mappedAtStart,
  'memory.ksm': ksmRule,
  'memory.preallocateThreads': heldAtStart,
  'memory.nodes': mappedAtStart,
  'memory.nodePolicy': mappedAtStart,
  'memory.pageSize': heldAtStart,
  'memory.preallocate': heldAtStart,
  'memory.lock': heldAtStart,
  'boot.kernel': { effect: 'boot', reason: 'a kernel is loaded when the guest boots' },
  'boot.cmdline': { effect: 'boot', reason: 'a kernel reads its command line when it boots' },
  cloudInit: { effect: 'boot', reason: 'the seed is written before the guest boots' },

  'devices.display': displayRule,
  'devices.renderNode': displayRule,
  'devices.rng': smallDeviceRule,
  'devices.rngBytesPerSecond': smallDeviceRule,
  'devices.vsock': smallDeviceRule,
  'devices.balloon': smallDeviceRule,
  'devices.watchdog': smallDeviceRule,
  'devices.watchdogModel': smallDeviceRule,
  'devices.pointer': smallDeviceRule,
  'devices.keyboard': smallDeviceRule,
  'devices.usb': smallDeviceRule,

  'disks.*': wholeDiskRule,
  'disks.*.volume': mediumOr({
    effect: 'pinned',
    reason: 'a disk keeps its volume; remove the disk and add one of another name',
  }),
  'disks.*.file': mediumOr(atStart),
  'disks.*.device': { effect: 'pinned', reason: 'a disk is not made a drive; add one of another name' },
  'disks.*.image': { effect: 'pinned', reason: 'the volume was made from its image' },
  'disks.*.size': {
    effect: 'pinned',
    reason: 'the volume has its size, and attaching it does not resize it',
  },
  'disks.*.format': {
    effect: 'pinned',
    reason: 'the volume was made in its format, which moving the disk changes',
  },
  'disks.*.throttle': {
    effect: 'live',
    reason: 'requests are held back by the emulator, whose limits can change',
  },
  'disks.*.pool': mediumOr({ effect: 'pinned', reason: 'the volume lies in its pool' }),
  'hostDevices.*': wholeHostDeviceRule,
  'devices.channels': channelsRule,
  'shares.*': wholeShareRule,
  'nics.*': wholeNicRule,
  'nics.*.network': networkRule,
  'nics.*.model': cardRule,
  'nics.*.queues': cardRule,
  'nics.*.mtu': cardRule,
  'nics.*.offloads': cardRule,
  'nics.*.link': { effect: 'live', reason: 'its cable is put in or taken out while the guest runs' },
  'nics.*.address': { effect: 'live', reason: 'the network gives it when the guest asks next' },
  'nics.*.ipv6': { effect: 'live', reason: 'the network gives it when the guest asks next' },
  'nics.*.forwards': forwardsRule,
  'nics.*.antiSpoof': guardRule,
  'nics.*.isolated': guardRule,
  'nics.*.limits': guardRule,
  'nics.*.vlan': guardRule,
  'nics.*.trunk': guardRule,
}

/** The rule of a field for a change. */
export function ruleFor(
  { kind, path }: { readonly kind: string; readonly path: string },
  change: SpecChange,
): ChangeRule {
  const rule = Object.hasOwn(changeRules, kind) ? (changeRules[kind] ?? atStart) : atStart
  return typeof rule === 'function' ? rule(change, path) : rule
}
