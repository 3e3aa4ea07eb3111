/** A VM as the API shows it. Everything here is known already: showing never waits for an emulator. */
import type { Vm, VmSpec, VmStatus } from '@kvasir/contract'
import { unenforceable } from '../../model/placement/cpu-limits.ts'
import { aioNow } from '../../model/qemu/aio-now.ts'
import type { DiskIds } from '../../model/qemu/emulator-plan.ts'
import { mediumPaths } from '../../model/vm/disk-rules.ts'
import { waitingFields } from '../../model/vm/waiting-changes.ts'
import type { Driver, VmView } from '../../ports/drivers.ts'
import type { EmulatorStatistics } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord, VmRun } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { placeName } from '../pools/usable-pool.ts'
import { cacheOf, layerOptions } from '../snapshots/layer-options.ts'
import { sourceOf } from '../volumes/volume-files.ts'
import { lostDevices } from './lost-devices.ts'
import { memoryStatus } from './memory-status.ts'
import { channelsField } from './moved-channels.ts'
import { deviceFields } from './moved-devices.ts'
import { hostDeviceField } from './moved-host-devices.ts'
import { movingFields } from './moved-nics.ts'
import { shareField } from './moved-shares.ts'
import { nicStatus, userNicStatus, vfStatus } from './nic-status.ts'
import { poolTrouble } from './pool-trouble.ts'
import { bootBytesOf } from './situation.ts'
import { pinsWait, waitingStatus } from './waiting-reasons.ts'

/** The API's view of a VM. */
export function showVm(driver: Driver, context: Context): Vm {
  return showView(driver.view(), context)
}

/** The API's view of a VM that nobody drives yet. */
export function showNewVm(record: VmRecord, context: Context): Vm {
  const nothing = { emulator: undefined, busyWith: undefined, jobId: undefined }
  return showView({ record, ...nothing, statistics: undefined, guest: undefined, held: undefined }, context)
}

/** The API's view of what is known of a VM. */
export function showView(view: VmView, context: Context): Vm {
  const { record } = view
  return {
    name: record.name,
    uuid: record.id,
    revision: record.revision,
    createdAt: record.createdAt,
    spec: record.spec,
    status: { ...lifeStatus(view, context), ...runStatus(view, context) },
  }
}

function lifeStatus({ record, jobId }: VmView, context: Context): VmStatus {
  const { life, saved } = record
  const job = jobId ?? guestJobOf(record.id, context)
  const { exit } = life
  const trouble = poolTrouble(record, context)
  return {
    state: life.state,
    reason: life.reason,
    since: life.since,
    uid: record.uid,
    machine: record.hardware.machine,
    ...(record.hardware.vsockCid === undefined ? {} : { vsockCid: record.hardware.vsockCid }),
    ...(job ? { job } : {}),
    ...(exit ? { exit } : {}),
    ...(saved?.booted ? { restartNeeded: waitingFor(record, saved.booted.spec) } : {}),
    ...(trouble.length > 0 ? { poolTrouble: trouble } : {}),
  }
}

/** The job that carries a change of the spec into the guest. */
function guestJobOf(id: string, { jobs }: Context): string | undefined {
  return (
    jobs.newest('vm.set-vcpus', id) ??
    jobs.newest('vm.set-disks', id) ??
    jobs.newest('vm.set-nics', id) ??
    jobs.newest('vm.set-host-devices', id) ??
    jobs.newest('vm.set-channels', id) ??
    jobs.newest('vm.set-shares', id) ??
    jobs.newest('vm.set-devices', id)
  )?.id
}

function runStatus(view: VmView, context: Context): Partial<VmStatus> {
  const { record, emulator, statistics, guest } = view
  const { run } = record
  if (!emulator || !run) return {}
  const { vncSocketName, spiceSocketName, renderNode } = run.emulator.plan.ids
  const { runtimeDir } = context
  const { emulators } = context.ports
  const directory = `${runtimeDir}/vms/${record.id}`
  return {
    accelerator: run.accelerator,
    acceleratorReason: run.acceleratorReason,
    pid: run.emulator.pid,
    startedAt: run.emulator.startedAt,
    cgroup: run.emulator.cgroup,
    qemuVersion: run.emulator.qemuVersion,
    memoryBytes: bootBytesOf(record) + (statistics?.plugged?.pluggedBytes ?? 0),
    memory: memoryStatus(view),
    ...(record.placement === undefined ? {} : { placement: record.placement.plan.summary }),
    cpu: cpuStatus(run),
    serialSocket: `${directory}/serial`,
    ...channelStatus(view, directory),
    cageLimits: [...emulators.cageLimits, ...unenforceable(record.spec.cpu, emulators.controllers)],
    ...waitingStatus(record, waitingFor(record, run.bootedSpec), context.ports),
    ...(vncSocketName === undefined ? {} : { vncSocket: `${directory}/share/${vncSocketName}` }),
    ...(spiceSocketName === undefined ? {} : { spiceSocket: `${directory}/share/${spiceSocketName}` }),
    ...(renderNode === undefined ? {} : { renderNode }),
    ...(statistics
      ? {
          residentBytes: statistics.residentBytes,
          vcpus: statistics.vcpus.map((vcpu) => ({ ...vcpu })),
          ioThreads: statistics.ioThreads.map((thread) => ({ ...thread })),
          ...(statistics.vhostThreads
            ? { vhostThreads: statistics.vhostThreads.map((thread) => ({ ...thread })) }
            : {}),
          disks: diskStatus(statistics.disks, { record, run }, context.ports),
          ...(statistics.emulatorThread ? { emulatorThread: { ...statistics.emulatorThread } } : {}),
          ...(statistics.balloonBytes === undefined
            ? {}
            : {
                balloonBytes: statistics.balloonBytes + (statistics.plugged?.pluggedBytes ?? 0),
              }),
        }
      : {}),
    ...hostDeviceStatus(run),
    ...lostDevices(record),
    ...nicStatus(record, statistics, context),
    ...userNicStatus(record),
    ...vfStatus(record),
    ...(guest ? { guest: guestStatus(guest) } : {}),
  }
}

function channelStatus({ record, emulator }: VmView, directory: string): Pick<VmStatus, 'channels'> {
  const channels = Object.entries(record.run?.emulator.plan.ids.channels ?? {})
  if (emulator === undefined || channels.length === 0) return {}
  return {
    channels: channels.map(([name, { socket }]) => ({
      name,
      socket: `${directory}/${socket}`,
      open: emulator.channels.isOpen(name),
    })),
  }
}

function hostDeviceStatus({ bootedHardware }: VmRun): Pick<VmStatus, 'hostDevices'> {
  const given = Object.entries(bootedHardware?.hostDevices ?? {})
  return given.length === 0 ? {} : { hostDevices: given.map(([name, address]) => ({ name, address })) }
}

function diskStatus(
  disks: EmulatorStatistics['disks'],
  vm: { readonly record: VmRecord; readonly run: VmRun },
  ports: Ports,
): NonNullable<VmStatus['disks']> {
  return disks.map(({ latency, ...disk }) => {
    const { aio, cache } = choicesOf(disk.disk, vm, ports)
    return { ...disk, ...(latency ? { latency } : {}), ...(aio ? { aio } : {}), ...(cache ? { cache } : {}) }
  })
}

/** How a disk's requests go now, as far as its pool can be asked; else how they went at the start. */
function choicesOf(
  name: string,
  { record, run }: { readonly record: VmRecord; readonly run: VmRun },
  ports: Ports,
): Pick<DiskIds, 'aio' | 'cache'> {
  const started: Pick<DiskIds, 'aio' | 'cache'> = run.emulator.plan.ids.disks[name] ?? {}
  const disk = run.bootedSpec.disks.find((one) => one.name === name)
  const volume = disk?.volume === undefined ? undefined : ports.store.volumes.find(disk.pool, disk.volume)
  const pool = volume && ports.store.pools.findByName(placeName(volume))
  if (!disk || !volume || pool?.phase !== 'ready' || !pool.started) return started
  const source = sourceOf(volume, ports)
  const { aio: layer } = layerOptions({ disk, volume }, record, ports)
  return {
    cache: cacheOf({ disk, volume }, ports),
    ...(started.aio ? { aio: aioNow(started.aio, { source, layer }) } : {}),
  }
}

/** What waits for the next boot. vCPUs and devices that are being plugged or asked for do not. */
function waitingFor({ spec, hardware, run }: VmRecord, booted: VmSpec): string[] {
  const now = waitingFields({ booted, now: spec, plugMemory: hardware.plugMemory })
  const fields = pinsWait({ spec, run }) ? [...now, 'cpu.pin'] : now
  const moving = new Set([
    ...(run?.movingDisks?.flatMap((disk) => [`disks.${disk}`, ...mediumPaths(disk)]) ?? []),
    ...(run?.movingNics?.flatMap(movingFields) ?? []),
    ...(run?.movingHostDevices?.map(hostDeviceField) ?? []),
    ...(run?.movingChannels ? [channelsField] : []),
    ...(run?.movingShares?.map(shareField) ?? []),
    ...(run?.movingDevices?.flatMap(deviceFields) ?? []),
  ])
  return fields.filter(
    (field) => (field !== 'cpu.count' || run?.vcpuTarget === undefined) && !moving.has(field),
  )
}

function cpuStatus({ accelerator, bootedSpec }: VmRun): NonNullable<VmStatus['cpu']> {
  const { count, max, model } = bootedSpec.cpu
  return {
    model: model === 'auto' ? (accelerator === 'kvm' ? 'host' : 'max') : model,
    count,
    max: max ?? count,
  }
}

function guestStatus(guest: NonNullable<VmView['guest']>): NonNullable<VmStatus['guest']> {
  return {
    agent: guest.agent,
    ...(guest.hostname === undefined ? {} : { hostname: guest.hostname }),
    ...(guest.os === undefined ? {} : { os: guest.os }),
    interfaces: guest.interfaces.map(({ name, mac, addresses }) => ({
      name,
      ...(mac === undefined ? {} : { mac }),
      addresses: [...addresses],
    })),
  }
}
