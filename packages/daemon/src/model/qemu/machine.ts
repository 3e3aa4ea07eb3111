/**
 * The machine: chipset, accelerator, firmware's place, and what of a PC's past is left out.
 *
 * q35 is versioned and pinned. microvm has no versions in QEMU, so its hardware can change with QEMU; what can be said explicitly
 * is said. microvm runs with PCIe and ACPI rather than virtio-mmio: every guest kernel has virtio-pci, devices have explicit
 * addresses and MSI-X, and ACPI gives it a power button.
 */
import { KvasirError, type VmSpec } from '@kvasir/contract'
import { firmwareNodes } from './firmware.ts'
import type { HardwareInput } from './hardware.ts'
import { memoryBackendId } from './ids.ts'
import { keyValues } from './options.ts'
import type { QemuCapabilities } from './qemu-capabilities.ts'
import { compareVersions } from './version.ts'

/** Host memory for translated code. QEMU's own default, 1 GiB a VM, is more than most guests have. */
export const tcgCacheMib = 256

/** The machine type that a new VM is pinned to: the version its spec names, else the newest of this QEMU. */
export function requireMachine(spec: VmSpec, qemu: QemuCapabilities): string {
  if (spec.machine.type === 'microvm') {
    if (spec.machine.version !== undefined) {
      throw new KvasirError('unsupported', 'The machine microvm has no versions, so none can be pinned.')
    }
    return offered('microvm', qemu)
  }
  if (spec.machine.version !== undefined) return offered(`pc-q35-${spec.machine.version}`, qemu)
  const newest = qemu.machines
    .filter((machine) => /^pc-q35-\d+\.\d+$/.test(machine))
    .sort((a, b) => compareVersions(b.slice('pc-q35-'.length), a.slice('pc-q35-'.length)))[0]
  if (newest === undefined) {
    throw new KvasirError('unsupported', 'This QEMU offers no q35 machine, so q35 VMs cannot be created.')
  }
  return newest
}

/** The arguments for the machine and the accelerator. */
export function machineArgs(input: HardwareInput): readonly string[] {
  const type = offered(input.hardware.machine, input.qemu)
  const options = input.spec.machine.type === 'q35' ? q35Options(input) : microvmOptions
  const accelerator =
    input.accelerator === 'kvm' ? 'kvm' : keyValues('tcg', { thread: 'multi', 'tb-size': tcgCacheMib })
  return [
    '-machine',
    keyValues(type, {
      'memory-backend': input.guestNodes ? undefined : memoryBackendId,
      usb: false,
      'dump-guest-core': false,
      ...(input.spec.machine.firmware === 'uefi'
        ? { pflash0: firmwareNodes.code, pflash1: firmwareNodes.variables }
        : {}),
      'mem-merge': input.spec.memory.ksm ? undefined : false,
      ...options,
    }),
    '-accel',
    accelerator,
    // A guest that suspends to memory or disk would vanish from the daemon's sight; libvirt and oVirt switch both off too.
    ...(input.spec.machine.type === 'q35'
      ? ['-global', 'ICH9-LPC.disable_s3=1', '-global', 'ICH9-LPC.disable_s4=1']
      : []),
  ]
}

function q35Options(input: HardwareInput): Readonly<Record<string, boolean>> {
  return {
    acpi: true,
    vmport: false,
    // Linux and Windows both have better clocks, and an HPET wakes the emulator needlessly.
    hpet: false,
    // System management mode protects only the keys of secure boot.
    smm: input.spec.machine.secureBoot === true,
    // Disks are virtio; without SATA the firmware and the guest need not look for any.
    sata: false,
  }
}

const microvmOptions: Readonly<Record<string, boolean>> = {
  acpi: true,
  pcie: true,
  pit: true,
  pic: true,
  rtc: true,
  ioapic2: false,
  // The serial console is a device of its own.
  'isa-serial': false,
  'x-option-roms': true,
  'auto-kernel-cmdline': false,
}

function offered(machine: string, qemu: QemuCapabilities): string {
  if (qemu.machines.includes(machine)) return machine
  throw new KvasirError(
    'unsupported',
    `The QEMU of this host, ${qemu.version.join('.')}, does not offer the machine ${machine}, so the VM cannot run here.`,
    { details: { machine } },
  )
}
