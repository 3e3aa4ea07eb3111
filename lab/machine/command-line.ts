/**
 * The machine that the lab is: QEMU's arguments for a host of two sockets and two NUMA nodes with SVM, an IOMMU, an SR-IOV NIC near the
 * one node and an NVMe disk near the other.
 *
 * Facts: AMD, since TCG emulates SVM and not VMX. `la57=off`, since with five-level paging `info mem` stalls the guest; never call that.
 * Both PCI expanders hold root ports, one device each, so that the NIC and the disk are alone in their IOMMU groups. The IOMMU is
 * Intel's: AMD's processor virtualization does not mind, and QEMU's model of it remaps interrupts under TCG.
 *
 * Not here: where the files are (places.ts), the process (emulator.ts).
 */
import { createHash } from 'node:crypto'
import { agentPortName, agentPorts } from '../agent/messages.ts'
import type { LabImage } from '../image/build-image.ts'
import type { Place } from './places.ts'

/** The disks that the lab may write to, by the name of their overlay or file, with their sizes. */
export const writableDisks = [
  { name: 'root', size: '16G' },
  { name: 'data', size: '8G' },
  { name: 'swap', size: '2G' },
  { name: 'nvme', size: '2G' },
] as const

const kernelArguments = [
  'console=ttyS0',
  'loglevel=4',
  'panic=-1',
  'mitigations=off',
  'nokaslr',
  'tsc=reliable',
  'no_timer_check', // Its interrupts may be late where the machine is busy, which the kernel would end for.
  'intel_iommu=on',
  'iommu=pt',
  'net.ifnames=0',
  'zswap.enabled=1',
  'psi=1',
]

const machine = [
  ['-nodefaults'],
  ['-display', 'none'],
  ['-no-reboot'],
  ['-M', 'q35,kernel-irqchip=split'],
  ['-cpu', 'max,la57=off,svm=on,npt=on,x2apic=off'],
  ['-smp', '4,sockets=2,cores=2'],
  ['-m', '6G'],
  ['-object', 'memory-backend-ram,id=memory0,size=3G'],
  ['-object', 'memory-backend-ram,id=memory1,size=3G'],
  ['-numa', 'node,nodeid=0,cpus=0-1,memdev=memory0'],
  ['-numa', 'node,nodeid=1,cpus=2-3,memdev=memory1'],
  ['-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'],
  ['-numa', 'dist,src=0,dst=1,val=21'],
  ['-device', 'intel-iommu,intremap=on'],
  ['-device', 'pxb-pcie,id=near,bus=pcie.0,addr=2,bus_nr=32,numa_node=0'],
  ['-device', 'pcie-root-port,id=nic-port,bus=near,chassis=1'],
  ['-netdev', 'user,id=net,restrict=on'],
  ['-device', 'igb,bus=nic-port,netdev=net,mac=52:54:00:1a:b0:01'],
  ['-device', 'pxb-pcie,id=far,bus=pcie.0,addr=3,bus_nr=64,numa_node=1'],
  ['-device', 'pcie-root-port,id=nvme-port,bus=far,chassis=2'],
  // Not the disk itself: QEMU cannot save the state of an NVMe controller, so it is plugged in afterwards (nvmeDisk).
  ['-device', 'virtio-blk-pci,bus=pcie.0,addr=4,drive=root'],
  ['-device', 'virtio-blk-pci,bus=pcie.0,addr=5,drive=data'],
  ['-device', 'virtio-blk-pci,bus=pcie.0,addr=6,drive=swap'],
  ['-device', 'virtio-rng-pci,bus=pcie.0,addr=7'],
  ['-device', 'virtio-serial-pci,bus=pcie.0,addr=8'],
  ...Array.from({ length: agentPorts }, (_, port) => [
    '-device',
    `virtserialport,chardev=agent${port},name=${agentPortName(port)}`,
  ]),
  ['-device', 'virtio-9p-pci,bus=pcie.0,addr=9,fsdev=checkout,mount_tag=checkout'],
  ['-device', 'virtio-9p-pci,bus=pcie.0,addr=10,fsdev=compiled,mount_tag=compiled'],
  ['-device', 'virtio-9p-pci,bus=pcie.0,addr=11,fsdev=guests,mount_tag=guests'],
  ['-append', kernelArguments.join(' ')],
] as const

/** The NVMe disk, as QMP's device_add takes it. */
export const nvmeDisk = {
  driver: 'nvme',
  id: 'nvme-controller',
  bus: 'nvme-port',
  serial: 'kvasir-lab',
  drive: 'nvme',
} as const

/** The digest of the machine: a snapshot comes back only on the very machine that it was taken of. */
export function machineDigest(): string {
  return createHash('sha256')
    .update(JSON.stringify([machine, writableDisks]))
    .digest('hex')
    .slice(0, 16)
}

/** How the lab's CPUs are emulated: each by a thread of its own, or all by one, which is slower and knows no races. */
export type Threads = 'multi' | 'single'

/** QEMU's arguments for an image in a place, from a snapshot when one is named. */
export function emulatorArguments(
  image: LabImage,
  {
    place,
    snapshot,
    threads,
  }: { readonly place: Place; readonly snapshot: string | undefined; readonly threads: Threads },
): readonly string[] {
  const share = `${image.emulator}/usr/share`
  const folders = ['qemu', 'seabios', '../lib/ipxe/qemu'].flatMap((name) => ['-L', `${share}/${name}`])
  const shares = [
    `checkout,path=${quote(place.checkout)},readonly=on`,
    `compiled,path=${quote(place.compiled)}`,
    `guests,path=${quote(place.guests)},readonly=on`,
  ]
  const doors = [
    ['-chardev', `file,id=console,path=${quote(place.console)}`],
    ['-serial', 'chardev:console'],
    ['-qmp', `unix:${quote(place.monitor)},server=on,wait=off`],
    ['-kernel', image.kernel],
    ['-initrd', image.initrd],
  ]
  return [
    ...folders,
    ...shares.flatMap((each) => ['-fsdev', `local,security_model=none,multidevs=remap,id=${each}`]),
    ...writableDisks.flatMap(({ name }) => [
      '-drive',
      `if=none,id=${name},format=qcow2,cache=unsafe,discard=unmap,file=${quote(place.overlay(name))}`,
    ]),
    ...place.agentSockets.flatMap((path, port) => [
      '-chardev',
      `socket,id=agent${port},path=${quote(path)},server=on,wait=off`,
    ]),
    ...doors.flat(),
    '-accel',
    `tcg,thread=${threads},tb-size=1024`,
    ...machine.flat(),
    ...(snapshot === undefined ? [] : ['-loadvm', snapshot]),
  ]
}

/** A value in one of QEMU's comma lists. */
function quote(value: string): string {
  return value.replaceAll(',', ',,')
}
