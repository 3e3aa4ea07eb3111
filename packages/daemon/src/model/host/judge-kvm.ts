/**
 * Whether KVM can be used, the exact reason, and what to do about it: from files, and on the host itself from what opening /dev/kvm and
 * a probe emulator gave.
 *
 * The order is that in which things must be there: the CPU's extension, the module, the device, the right to open it, an emulator
 * that can use it.
 */
import type { HostKvm } from '@kvasir/contract'
import { type AcceleratorFacts, virtualization } from '../accelerator.ts'

/** What files say of KVM. */
export interface KvmFiles {
  readonly modules: readonly {
    readonly name: string
    readonly parameters: Readonly<Record<string, string>>
  }[]
  /** Whether the files show modules at all. */
  readonly isKnown: boolean
  readonly hasDevice: boolean
  readonly loadable?: readonly string[]
}

/** What was tried on the host itself. */
export interface KvmTrial {
  readonly device: AcceleratorFacts['kvmDevice']
  readonly probe: AcceleratorFacts['probe']
  /** Who may open the device, such as `crw-rw---- root:kvm`, and who tried. */
  readonly permissions?: string
  readonly user?: string
}

export interface KvmSurroundings {
  readonly architecture: string
  readonly vendor: string
  readonly cpuFlags: readonly string[]
  readonly kernel: string
  readonly files: KvmFiles
  /** Absent for a captured host. */
  readonly trial?: KvmTrial | undefined
}

interface Verdict {
  readonly usable: boolean
  readonly reason: string
  readonly remedy?: string
}

/** KVM on a host. */
export function judgeKvm(host: KvmSurroundings): HostKvm {
  const { modules } = host.files
  return {
    ...verdictOn(host),
    device: host.trial?.device ?? 'unknown',
    nested: nestedState(host),
    modules: modules.map(({ name, parameters }) => ({ name, parameters: { ...parameters } })),
  }
}

function verdictOn(host: KvmSurroundings): Verdict {
  if (!host.files.isKnown && host.trial === undefined && virtualization(host) !== 'none')
    return { usable: false, reason: 'what was captured of this host says nothing of modules' }
  const isX86 = host.architecture === 'x86_64' || host.cpuFlags.includes('lm')
  const obstacle =
    (isX86 ? (flagObstacle(host) ?? moduleObstacle(host)) : undefined) ??
    deviceObstacle(host) ??
    probeObstacle(host)
  if (obstacle !== undefined) return { usable: false, ...obstacle }
  const [module] = vendorModules(host)
  const by = module === undefined ? 'the kernel has KVM' : `${module} is loaded`
  return {
    usable: true,
    reason:
      host.trial === undefined
        ? `${by} and made the device`
        : `${by}, /dev/kvm opens, and KVM answered a probe emulator`,
  }
}

type Obstacle = Omit<Verdict, 'usable'> | undefined

function flagObstacle(host: KvmSurroundings): Obstacle {
  if (virtualization(host) !== 'none') return undefined
  const isGuest = host.cpuFlags.includes('hypervisor')
  const outer =
    'Turn nested virtualization on for this machine in the hypervisor that runs it, with a CPU model that passes vmx or svm on.'
  if (host.files.hasDevice || host.trial?.device === 'usable') {
    const backend = host.files.modules.map(({ name }) => name).find((name) => name !== 'kvm')
    return {
      reason: `/dev/kvm is ${backend === undefined ? 'a software backend' : `that of ${backend}, a software backend`}: the CPU shows neither vmx nor svm, and a stock guest never finishes booting on it`,
      remedy: isGuest ? outer : firmwareRemedy(host.vendor),
    }
  }
  if (isGuest)
    return {
      reason: 'this host is a virtual machine itself, and its hypervisor passes on neither vmx nor svm',
      remedy: outer,
    }
  return {
    reason: `the CPU shows neither vmx nor svm: ${extensionOf(host.vendor)} is disabled in the firmware, or the CPU has none`,
    remedy: firmwareRemedy(host.vendor),
  }
}

function moduleObstacle(host: KvmSurroundings): Obstacle {
  if (vendorModules(host).length > 0) return undefined
  const needed = virtualization(host) === 'vmx' ? 'kvm_intel' : 'kvm_amd'
  const isForeign = host.files.modules.some(({ name }) => name !== 'kvm')
  if (isForeign) return undefined
  if (host.files.loadable !== undefined && !host.files.loadable.includes(needed))
    return {
      reason: `the module ${needed} is not loaded, and the kernel ${host.kernel} has none to load`,
      remedy:
        'Install the rest of the modules of this kernel (linux-modules-extra on Ubuntu), or a kernel with KVM.',
    }
  return {
    reason: `the module ${needed} is not loaded`,
    remedy: `Run: modprobe ${needed}. If it answers "Operation not supported", ${extensionOf(host.vendor)} is disabled in the firmware: ${firmwareRemedy(host.vendor)}`,
  }
}

function deviceObstacle({ files, trial }: KvmSurroundings): Obstacle {
  if (trial === undefined) {
    return files.hasDevice
      ? undefined
      : {
          reason: 'the kernel has made no device for KVM',
          remedy: 'Load the modules of KVM and look into dmesg.',
        }
  }
  if (trial.device === 'missing')
    return {
      reason: files.hasDevice ? 'the kernel has KVM, and there is no /dev/kvm' : 'there is no /dev/kvm',
      remedy: files.hasDevice
        ? 'Run: mknod /dev/kvm c 10 232 && chgrp kvm /dev/kvm && chmod 660 /dev/kvm, or give the container its device.'
        : 'Load the modules of KVM and look into dmesg.',
    }
  if (trial.device === 'usable') return undefined
  const who = trial.user === undefined ? 'the emulator' : `user ${trial.user}`
  const permissions = trial.permissions === undefined ? '' : ` (${trial.permissions})`
  return {
    reason: `/dev/kvm${permissions} does not open for ${who}`,
    remedy: 'Run: chgrp kvm /dev/kvm && chmod 660 /dev/kvm; in a container, allow the device 10:232.',
  }
}

function probeObstacle({ trial }: KvmSurroundings): Obstacle {
  if (trial === undefined) return undefined
  const { probe } = trial
  if (probe === 'not-run')
    return {
      reason: 'no probe emulator could be started',
      remedy: 'Install QEMU, or name its binary with KVASIR_QEMU.',
    }
  if (probe === 'failed')
    return {
      reason: 'a probe emulator with KVM did not answer',
      remedy:
        'Run: qemu-system-x86_64 -accel kvm -cpu host -display none -S, and read what it says; then look into dmesg.',
    }
  if (!probe.present)
    return {
      reason: 'this QEMU was built without KVM',
      remedy: 'Install the QEMU of the distribution, or name another binary with KVASIR_QEMU.',
    }
  return probe.enabled
    ? undefined
    : { reason: 'a probe emulator answered that KVM is not enabled', remedy: 'Look into dmesg.' }
}

function vendorModules({ files }: KvmSurroundings): readonly string[] {
  return files.modules.map(({ name }) => name).filter((name) => name === 'kvm_intel' || name === 'kvm_amd')
}

function nestedState({ files }: KvmSurroundings): HostKvm['nested'] {
  const values = files.modules
    .filter(({ name }) => name === 'kvm_intel' || name === 'kvm_amd')
    .map(({ parameters }) => parameters['nested'])
  if (values.some((value) => value === 'Y' || value === '1')) return 'on'
  return values.some((value) => value === 'N' || value === '0') ? 'off' : 'unknown'
}

function extensionOf(vendor: string): string {
  return (
    { GenuineIntel: 'VT-x', AuthenticAMD: 'AMD-V (SVM)', HygonGenuine: 'SVM' }[vendor] ?? 'virtualization'
  )
}

function firmwareRemedy(vendor: string): string {
  const setting = { GenuineIntel: 'Intel Virtualization Technology (VT-x)', AuthenticAMD: 'SVM Mode' }[vendor]
  return `Enable ${setting ?? 'virtualization'} in the firmware setup, and turn the machine off and on.`
}
