/**
 * From a VM's spec, hardware and files to the one way its emulator is started: the order of the parts, nothing else.
 *
 * Pure: equal input gives equal argv. Each kind of device has a file of its own beside this one; golden/ holds what comes out.
 */
import { KvasirError } from '@kvasir/contract'
import { agentChannelArgs } from './agent-channel.ts'
import { requireBalloon } from './balloon.ts'
import { bootArgs, bootBinds } from './boot.ts'
import type { BuildContext } from './build-context.ts'
import { channelArgs, channelsOf } from './channels.ts'
import { clockArgs } from './clock.ts'
import { cpuArgs } from './cpu.ts'
import { DescriptorList } from './descriptor-list.ts'
import { diskArgs } from './disk.ts'
import { displayArgs, renderNodeOf } from './display.ts'
import type { EmulatorPlan } from './emulator-plan.ts'
import { firmwareArgs } from './firmware.ts'
import { guestNodeArgs } from './guest-nodes.ts'
import type { HardwareInput } from './hardware.ts'
import { handedOver, hostDeviceArgs } from './host-devices.ts'
import { lifecycleArgs } from './lifecycle.ts'
import { machineArgs } from './machine.ts'
import { memoryArgs, memoryPlan } from './memory.ts'
import { monitorArgs } from './monitor.ts'
import { nicArgs } from './nic.ts'
import { keyValues } from './options.ts'
import { panicArgs } from './panic.ts'
import { pciBus } from './pci-bus.ts'
import { plugMemoryArgs } from './plug-memory.ts'
import { restoreArgs } from './restore.ts'
import { sandboxArgs } from './sandbox.ts'
import { seedArgs } from './seed.ts'
import { serialArgs } from './serial.ts'
import { serialBusArgs } from './serial-bus.ts'
import { shareArgs, sharePlans } from './shares.ts'
import { smallDeviceArgs } from './small-devices.ts'
import { soundArgs } from './sound.ts'
import { spiceArgs, spiceSocketName } from './spice.ts'
import { tpmArgs, tpmPlan } from './tpm.ts'
import { isAtLeast, oldestQemu } from './version.ts'
import { vfsPlan } from './vf-nic.ts'
import { vncArgs, vncSocketName } from './vnc.ts'
import { chipsetWatchdogArgs } from './watchdog.ts'

/**
 * The plan of one start. Refuses with `emulator-missing` (QEMU too old), `unsupported` (what this machine or version cannot do),
 * `bad-request` (a spec at odds with itself) or `accelerator-unavailable` (CPU model `host` without KVM).
 */
export function buildEmulator(input: HardwareInput): EmulatorPlan {
  requireVersion(input)
  requireBalloon(input)
  const descriptors = new DescriptorList()
  const bus = pciBus(input)
  const context: BuildContext = { input, descriptors, bus }

  const monitors = monitorArgs(descriptors)
  const serial = serialArgs(descriptors)
  const agent = [...serialBusArgs(context), ...agentChannelArgs(context), ...channelArgs(context)]
  const disks = diskArgs(context)
  const seed = seedArgs(context)
  const nics = nicArgs(context)
  const firmware = firmwareArgs(context)

  const argv = [
    ...processArgs(input),
    ...sandboxArgs(),
    ...machineArgs(input),
    ...cpuArgs(input),
    ...memoryArgs(input),
    ...guestNodeArgs(input),
    ...firmware,
    ...bootArgs(input),
    ...clockArgs(input),
    ...lifecycleArgs(input),
    ...monitors,
    ...bus.args,
    ...serial,
    ...agent,
    ...disks.args,
    ...seed,
    ...nics.args,
    ...hostDeviceArgs(context),
    ...shareArgs(context),
    ...smallDeviceArgs(context, 'rng'),
    ...smallDeviceArgs(context, 'balloon'),
    ...plugMemoryArgs(context),
    ...smallDeviceArgs(context, 'vsock'),
    ...panicArgs(context),
    ...smallDeviceArgs(context, 'watchdog'),
    ...chipsetWatchdogArgs(context),
    ...tpmArgs(context),
    ...smallDeviceArgs(context, 'usb'),
    ...seatArgs(context),
    ...restoreArgs(context),
  ]
  return {
    argv,
    descriptors: descriptors.all,
    binds: bootBinds(input),
    userNics: nics.userNics,
    taps: nics.taps,
    tpm: tpmPlan(input),
    ...sharePlans(input),
    ...handedOver(input),
    ...vfsPlan(input),
    secrets: disks.secrets,
    memory: memoryPlan(input),
    reach: disks.reach,
    mostIoThreads: Math.max(disks.ioThreads.length, bus.ports),
    ids: {
      ioThreads: disks.ioThreads,
      disks: disks.ids,
      nics: nics.ids,
      ...displayIds(input),
      ...channelsOf(input),
    },
  }
}

/** What whoever sits before the VM points with, types on, hears and sees. */
function seatArgs(context: BuildContext): readonly string[] {
  return [
    ...smallDeviceArgs(context, 'pointer'),
    ...smallDeviceArgs(context, 'keyboard'),
    ...soundArgs(context),
    ...displayArgs(context),
    ...vncArgs(context),
    ...spiceArgs(context),
  ]
}

function displayIds(input: HardwareInput) {
  const spice = spiceSocketName(input)
  const renderNode = renderNodeOf(input)
  return {
    vncSocketName: vncSocketName(input),
    ...(spice === undefined ? {} : { spiceSocketName: spice }),
    ...(renderNode === undefined ? {} : { renderNode }),
  }
}

function processArgs(input: HardwareInput): readonly string[] {
  return [
    '-name',
    keyValues(undefined, { guest: input.name, 'debug-threads': true }),
    '-uuid',
    input.uuid,
    '-no-user-config',
    '-nodefaults',
    '-msg',
    'timestamp=on',
  ]
}

function requireVersion(input: HardwareInput): void {
  if (isAtLeast(input.qemu, oldestQemu)) return
  throw new KvasirError(
    'emulator-missing',
    `The QEMU of this host is ${input.qemu.version.join('.')}, older than ${oldestQemu.join('.')}, so VMs cannot start.`,
  )
}
