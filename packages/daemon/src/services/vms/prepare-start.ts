/** Everything that is decided before a VM starts. Changes nothing. */
import { type DiskSpec, isCdrom, KvasirError, type VmSpec } from '@kvasir/contract'
import { likelyRenderNode } from '../../model/host/judge-graphics.ts'
import type { PageWant } from '../../model/memory/hugepages.ts'
import { coldHardware, planHardware } from '../../model/pci/allocate.ts'
import type { StoredPlan } from '../../model/placement/keep-plan.ts'
import { placedInput } from '../../model/placement/placed-input.ts'
import type { ThreadPlan } from '../../model/placement/plan-threads.ts'
import { buildEmulator } from '../../model/qemu/build-emulator.ts'
import type { FirmwareImage } from '../../model/qemu/choose-firmware.ts'
import type { DiskInput } from '../../model/qemu/disk-device.ts'
import type { EmulatorPlan } from '../../model/qemu/emulator-plan.ts'
import type { DiskBacking, HardwareInput } from '../../model/qemu/hardware.ts'
import { likelyAddresses } from '../../model/qemu/host-devices.ts'
import { restoredSpec } from '../../model/vm/waiting-changes.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'
import { chooseNicVfs } from '../host/choose-nic-vfs.ts'
import { renderNodeFor } from '../host/graphics.ts'
import { chooseHostDevices } from '../host/host-devices.ts'
import { findImage } from '../images/find-image.ts'
import { nicNetworks } from '../networks/nic-networks.ts'
import { requireOwnNics } from '../networks/own-nics.ts'
import { requireUnheard } from '../networks/ports-of-host.ts'
import { type PlacementFacts, readPlacementFacts } from '../placement/place-vm.ts'
import { usablePlace } from '../pools/usable-pool.ts'
import { volumeChain } from '../volumes/volume-chain.ts'
import { askServers } from './ask-servers.ts'
import { firmwareFiles, firmwareOf, tpmDirectoryOf } from './nvram.ts'
import { requireBacking } from './require-backing.ts'
import { requireCpu, requireCpuHere } from './require-cpu.ts'
import { requireFits } from './require-fits.ts'
import { planTuning } from './tune-threads.ts'

export interface PreparedStart {
  readonly plan: EmulatorPlan
  /** For a VM that is to be placed: what its place is chosen by, and the plan of a start at that place. */
  readonly place:
    | { readonly facts: PlacementFacts; readonly planAt: (placement: StoredPlan) => EmulatorPlan }
    | undefined
  /** What is started: what the record says, or for saved memory what that was saved with. */
  readonly spec: VmSpec
  /** The image of its UEFI, where it has that. */
  readonly firmware: FirmwareImage | undefined
  /** Undefined when the VM asks for nothing. */
  readonly threads: ThreadPlan | undefined
  readonly pages: PageWant | undefined
  readonly hardware: VmRecord['hardware']
  readonly accelerator: 'kvm' | 'tcg'
  readonly acceleratorReason: string
}

/** Decides how a VM starts: accelerator, hardware, argv. Refuses what cannot work, before anything is touched. */
export async function prepareStart(record: VmRecord, ports: Ports): Promise<PreparedStart> {
  const booted = record.saved?.booted
  const spec = booted ? restoredSpec(booted.spec, record.spec) : record.spec
  const known = booted?.hardware ?? record.hardware
  const [qemu, accelerator, kernel, tscKhz, threads, facts] = await Promise.all([
    ports.host.qemu(),
    ports.host.chooseAccelerator(spec.accelerator),
    kernelOf(spec, ports),
    spec.machine.type === 'microvm' ? ports.host.tscKhz() : undefined, // Nobody else is told.
    planTuning(record, ports),
    readPlacementFacts(spec, ports),
    requireFits(spec, record.name, ports),
  ])
  await requireStartableNics(record, spec, ports)
  await askServers(spec, ports)
  const kept = planHardware(spec, known, { qemu, vsockCid: known.vsockCid })
  const hostDevices = await chooseHostDevices(record, spec, { ports })
  const cold = record.saved ? kept : coldHardware(spec, kept)
  const vfs = await chooseNicVfs(record, spec, { taken: hostDevices, ports })
  const hardware = { ...cold, ...(hostDevices && { hostDevices }), ...(vfs && { vfs }) }
  const extension = await requireCpu({ name: record.name, spec }, accelerator.kind, ports)
  const disks = diskBackings(spec, ports)
  const firmware = await firmwareOf(record, { spec, machine: hardware.machine }, ports)
  const input: HardwareInput = {
    name: record.name,
    uuid: record.id,
    spec,
    hardware,
    accelerator: accelerator.kind,
    qemu,
    disks,
    kernel,
    firmware: firmwareFiles(record, firmware, ports),
    tpmDirectory: tpmDirectoryOf(record, spec, ports),
    virtiofsd: ports.host.virtiofsd(),
    renderNode: await renderNodeFor(record, spec, ports),
    seedPath: spec.cloudInit ? ports.files.seedPath(record.id) : undefined,
    vsock: ports.host.hasVsock(),
    vhostNet: ports.host.hasVhostNet(),
    extension,
    tscKhz,
    hasThp: await hasThp(spec, ports),
    noIoUring: await noIoUring(disks, spec.disks, ports),
    networks: nicNetworks(spec, ports),
    restorePath: record.saved ? ports.files.savePath(record.id) : undefined,
  }
  const plan = buildEmulator(input)
  return {
    plan,
    pages: await requireBacking({ name: record.name, spec }, plan.memory, ports),
    place: facts && { facts, planAt: (placement) => buildEmulator(placedInput(input, placement.plan)) },
    spec,
    firmware,
    threads,
    hardware,
    accelerator: accelerator.kind,
    acceleratorReason: accelerator.reason,
  }
}

/** Networks may be others by now than when the spec was written, and so may be what else has a port. */
async function requireStartableNics(record: VmRecord, spec: VmSpec, ports: Ports): Promise<void> {
  nicNetworks(spec, ports)
  requireOwnNics(record, spec, ports)
  await requireUnheard(record, ports)
}

/**
 * Refuses a spec that no start could carry out, with what a start would say. What depends on the host of that moment (whether there
 * is KVM, the files of volumes) is not looked at, nor is a CPU that the VM has already.
 */
export async function requireBuildable(
  vm: Pick<VmRecord, 'id' | 'name' | 'spec' | 'hardware'>,
  ports: Ports,
  { hasCpu = false }: { readonly hasCpu?: boolean } = {},
): Promise<void> {
  const { spec } = vm
  const [qemu, kernel] = await Promise.all([
    ports.host.qemu(),
    kernelOf(spec, ports),
    hasCpu ? undefined : requireCpuHere(vm, ports),
  ])
  buildEmulator({
    name: vm.name,
    uuid: vm.id,
    spec,
    hardware: {
      ...coldHardware(spec, vm.hardware),
      hostDevices: likelyAddresses(spec),
    },
    accelerator: 'kvm',
    qemu,
    disks: spec.disks.map((disk) => ({ disk: disk.name, chain: [{ path: '/volume', format: 'qcow2' }] })),
    kernel,
    firmware: { executable: '/firmware', nvramPath: '/nvram' },
    renderNode: likelyRenderNode,
    seedPath: spec.cloudInit ? '/seed' : undefined,
    vsock: true,
    tscKhz: undefined,
    networks: Object.fromEntries(spec.nics.map(({ network = '' }) => [network, { bridge: 'br', mtu: 1500 }])),
    restorePath: undefined,
  })
}

/** Asked only where it matters: for shared memory, which is a file in huge pages. */
async function hasThp({ memory }: VmSpec, ports: Ports): Promise<boolean | undefined> {
  return memory.sharing === 'shared' ? (await ports.host.thpMode()) !== 'absent' : undefined
}

async function kernelOf(spec: VmSpec, ports: Ports): Promise<HardwareInput['kernel']> {
  const own = spec.boot.kernel
  if (own) {
    const cmdline = [own.cmdline, spec.boot.cmdline].filter(Boolean).join(' ')
    return { path: own.kernel, initrd: own.initrd, cmdline }
  }
  if (spec.image === undefined) return undefined
  const image = await findImage(spec.image, ports)
  if (image.boot !== 'kernel') return undefined
  const paths = ports.images.paths(image.id)
  const cmdline = [image.cmdline, spec.boot.cmdline].filter(Boolean).join(' ')
  return { path: paths.kernel, initrd: image.initrd ? paths.initrd : undefined, cmdline }
}

/** What one disk of a VM is plugged from. */
export async function diskInput(
  { name, spec, hardware, run }: VmRecord,
  disk: DiskSpec,
  ports: Ports,
): Promise<DiskInput> {
  const disks = diskBackings({ disks: [disk] }, ports)
  const others = Object.values(run?.emulator.plan.ids.disks ?? {})
  const hasIoUring = run === undefined || others.some(({ aio }) => aio?.mode === 'io_uring')
  const no = hasIoUring ? await noIoUring(disks, [disk], ports) : 'the VM was started without a disk on it'
  return { name, spec, hardware, accelerator: run?.accelerator ?? 'tcg', disks, noIoUring: no }
}

/** Asked only where a disk wants it. An emulator that is given servers has none (host/cage/launcher.pl). */
async function noIoUring(
  backings: readonly DiskBacking[],
  disks: readonly DiskSpec[],
  { host }: Ports,
): Promise<string | undefined> {
  if (!disks.some(({ aio }) => aio === 'io_uring')) return undefined
  const hasServer = backings.some(({ chain }) => chain.some(({ kind }) => kind === 'protocol'))
  return hasServer ? 'the VM has a disk on a storage server' : await host.noIoUring()
}

/** The files behind the disks of a spec. `volume-not-found` for a disk without one. */
export function diskBackings(spec: Pick<VmSpec, 'disks'>, ports: Ports): readonly DiskBacking[] {
  const { volumes } = ports.store
  return spec.disks.map((disk) => {
    if (isCdrom(disk) && disk.volume === undefined) return { disk: disk.name, chain: mediumChain(disk) }
    const volume = disk.volume === undefined ? undefined : volumes.find(disk.pool, disk.volume)
    if (!volume)
      throw new KvasirError(
        'volume-not-found',
        `Disk ${disk.name} is on volume ${disk.volume ?? '(none)'}, which does not exist, so the VM cannot start.`,
      )
    const { directIo, isLocal = false } = usablePlace(volume, ports)
    const chain = volumeChain(volume, ports)
    return { disk: disk.name, chain, directIo: directIo && ports.files.directIo, isLocal }
  })
}

/** A file of the host: opened as root, so through no link, and by a process that can be killed. */
function mediumChain({ file }: DiskSpec): DiskBacking['chain'] {
  return file === undefined ? [] : [{ path: file, format: 'raw', guarded: true }]
}
