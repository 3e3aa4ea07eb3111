/** What a simulated machine says of itself. */
import { type AcceleratorChoice, KvasirError, type VmSpec } from '@kvasir/contract'
import { describeHost } from '../model/host/describe-host.ts'
import { judgeGraphics } from '../model/host/judge-graphics.ts'
import type { HostFacts } from '../ports/host-facts.ts'
import type { SimulatedMachine } from './machine.ts'
import { simulatedCpuOffer } from './simulated-cpu-offer.ts'
import { simulatedReading, simulatedTopology } from './simulated-hardware.ts'

const presentCpus = [0, 1, 2, 3, 4, 5, 6, 7]

const binary = '/usr/bin/qemu-system-x86_64'

const simulatedUefi = {
  descriptor: '/usr/share/qemu/firmware/60-edk2-x86_64.json',
  description: 'UEFI',
  interfaces: ['uefi'],
  device: 'flash',
  executable: '/usr/share/OVMF/OVMF_CODE_4M.fd',
  nvramTemplate: '/usr/share/OVMF/OVMF_VARS_4M.fd',
  targets: [{ architecture: 'x86_64', machines: ['pc-q35-*'] }],
  features: [],
  installed: true,
}

/** The facts of a machine, read at each call. */
export function createSimulatedHostFacts(machine: SimulatedMachine): HostFacts {
  async function qemu() {
    const version = machine.qemuVersion
    if (!version) throw new KvasirError('emulator-missing', 'The host has no QEMU, so no VM can be started.')
    const [major] = version
    return { binary, version, machines: [`pc-q35-${major}.0`, 'q35', 'microvm'] }
  }

  async function chooseAccelerator(wanted: VmSpec['accelerator']): Promise<AcceleratorChoice> {
    if (wanted === 'tcg') return { kind: 'tcg', reason: 'the spec asks for it' }
    if (machine.hasKvm) return { kind: 'kvm', reason: '/dev/kvm works' }
    if (wanted === 'kvm')
      throw new KvasirError(
        'accelerator-unavailable',
        'The spec requires KVM and the simulated machine has none, so the VM cannot start.',
      )
    return { kind: 'tcg', reason: 'the simulated machine has no /dev/kvm' }
  }

  const checkFile = (path: string) => requireFile(path, machine)

  return {
    qemu,
    chooseAccelerator,
    cpuOffer: async (accelerator) => simulatedCpuOffer(accelerator, machine.lostCpuFlags),
    topology: async () => simulatedTopology(machine),
    devices: async () => machine.devices,
    async cpuSets() {
      const online = presentCpus.filter((cpu) => !machine.offlineCpus.includes(cpu))
      return { present: presentCpus, online, allowed: online, inherited: online }
    },
    async describe() {
      const { version, machines } = await qemu()
      return {
        ...describeHost(simulatedReading(machine)),
        hostname: 'simulated',
        accelerator: await chooseAccelerator('auto'),
        qemu: {
          binary,
          version: version.join('.'),
          machines: [...machines],
          accelerators: ['tcg', ...(machine.hasKvm ? ['kvm'] : [])],
          devices: ['virtio-blk-pci', 'virtio-net-pci'],
        },
        vsock: machine.hasVsock,
      }
    },
    memory: async () => simulatedReading(machine).memory,
    tuning: () => [],
    availableMemoryBytes: async () => machine.availableMemoryBytes,
    totalMemoryBytes: async () => machine.totalMemoryBytes,
    hugepages: async (pageBytes) => ({
      support: 'supported',
      nodes: machine.hugepages.get(pageBytes) ?? [],
      isNuma: true,
      mayReserve: false,
    }),
    lockableBytes: async () => machine.lockableBytes,
    thpMode: async () => 'madvise',
    firmware: async () => (machine.hasUefi ? [simulatedUefi] : []),
    ...shareFacts(machine),
    ...deviceFacts(machine),
    tscKhz: async () => undefined,
    noIoUring: async () => machine.noIoUring,
    checkBootFile: checkFile,
    checkMedium: checkFile,
  }
}

function deviceFacts(
  machine: SimulatedMachine,
): Pick<HostFacts, 'hasSwtpm' | 'hasVsock' | 'hasVhostNet' | 'graphics'> {
  return {
    hasSwtpm: () => machine.hasSwtpm,
    hasVsock: () => machine.hasVsock,
    hasVhostNet: () => machine.hasVhostNet,
    graphics: async () => judgeGraphics({ renderNodes: machine.renderNodes }),
  }
}

const ownFolders = [{ path: '/simulated/state', what: 'where Kvasir keeps the state of VMs' }]

function shareFacts(machine: SimulatedMachine): Pick<HostFacts, 'virtiofsd' | 'lookAtFolder' | 'ownFolders'> {
  return {
    virtiofsd: () => (machine.hasVirtiofsd ? '/usr/lib/qemu/virtiofsd' : undefined),
    lookAtFolder: async (folder) => ({
      folder,
      kind: machine.folders.has(folder) ? 'directory' : undefined,
      real: folder,
    }),
    ownFolders: () => ownFolders,
  }
}

async function requireFile(path: string, { bootFiles }: SimulatedMachine): Promise<void> {
  if (bootFiles.has(path) || path.startsWith('/simulated/')) return
  throw new KvasirError('file-not-found', `There is no file ${path}, so no VM gets it.`)
}
