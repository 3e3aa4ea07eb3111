/** `kvasir host show`: the daemon's host, or a captured one, of which less is known. */
import type { Host } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'
import type { Properties } from '../output/table.ts'
import type { CapturedHost } from './captured-host.ts'
import { describeMemory } from './describe-memory.ts'

/** A host of which a captured tree may tell but a part. */
type KnownHost = CapturedHost & Partial<Host>

/** What a host without a cgroup controller cannot do for VMs. */
const withoutController: ReadonlyMap<string, string> = new Map([
  ['cpu', 'VMs get no shares and no quotas of CPU time'],
  ['cpuset', 'vCPUs are pinned by affinity, not confined'],
  ['io', 'disk bandwidth is not limited'],
  ['memory', 'the memory of emulators is neither limited nor accounted'],
  ['pids', 'processes are limited by RLIMIT_NPROC only'],
])

/** Parameters of KVM's modules that people ask for. */
const shownParameters = [
  'nested',
  'ept',
  'npt',
  'vpid',
  'unrestricted_guest',
  'enable_apicv',
  'avic',
  'tdp_mmu',
  'halt_poll_ns',
  'sev',
]

export const showHost: Action = async (context) => {
  const host = await findHost(context)
  await context.output.properties(host, () => describeHostForPeople(host))
  return undefined
}

async function findHost(context: Context): Promise<KnownHost> {
  const root = context.value('root')
  if (root === undefined) return await context.client.call(routes.getHost, { signal: context.signal })
  const { readCapturedHost } = await import('./captured-host.ts')
  return await readCapturedHost(root)
}

/** The host as names and values. */
function describeHostForPeople(host: KnownHost): Properties {
  const { cpu, kvm, accelerator, qemu, cgroup, vsock } = host
  const flags = (present: boolean) =>
    cpu.features.filter((feature) => feature.present === present).map(({ flag }) => flag)
  return {
    Host: host.hostname,
    Kernel: host.kernel,
    Architecture: host.architecture,
    CPU: `${cpu.count} x ${cpu.model} (${cpu.vendor}${cpu.baseline === undefined ? '' : `, ${cpu.baseline}`})`,
    'CPU has': flags(true).join(' ') || undefined,
    'CPU lacks': flags(false).join(' ') || undefined,
    KVM: [
      `${kvm.usable ? 'usable' : 'not usable'}: ${kvm.reason}`,
      ...(kvm.remedy === undefined ? [] : [kvm.remedy]),
    ],
    'KVM modules': kvm.modules.map(({ name, parameters }) => {
      const shown = shownParameters.filter((parameter) => parameters[parameter] !== undefined)
      return [name, ...shown.map((parameter) => `${parameter}=${parameters[parameter]}`)].join(' ')
    }),
    Nested: kvm.nested,
    Accelerator: accelerator === undefined ? undefined : `${accelerator.kind}: ${accelerator.reason}`,
    ...describeIommu(host),
    ...describeMemory(host.memory),
    Cgroups: `${cgroup.version}, controllers ${cgroup.controllers.join(' ') || 'none'}`,
    'Not enforced': cgroup.missing.map(
      (what) => `${what}: ${withoutController.get(what) ?? 'no such controller'}`,
    ),
    QEMU: qemu === undefined ? undefined : describeQemu(qemu),
    '3D': describeGraphics(host.graphics),
    Firmware: host.firmware.map(
      ({ executable, interfaces, description, installed }) =>
        `${executable} (${interfaces.join(', ')}): ${installed ? description : 'not installed'}`,
    ),
    vsock: vsock === undefined ? undefined : vsock ? 'yes' : 'no',
  }
}

function describeQemu(qemu: Host['qemu']): readonly string[] {
  const offers = `${qemu.machines.length} machine types, ${qemu.devices.length} devices`
  return [
    `${qemu.version} (${qemu.binary})`,
    ...(qemu.machines.length === 0
      ? []
      : [`accelerators ${qemu.accelerators.join(' ') || 'unknown'}; ${offers}`]),
  ]
}

function describeGraphics({ usable, reason, remedy, renderNodes }: Host['graphics']): readonly string[] {
  return [
    `${usable ? 'usable' : 'not usable'}: ${reason}`,
    ...(remedy === undefined ? [] : [remedy]),
    ...renderNodes.map(({ path, driver, address, reason: why }) => {
      const words = [driver, address].filter((word) => word !== undefined)
      return `${path} (${words.join(', ') || 'of no known driver'}): ${why}`
    }),
  ]
}

function describeIommu({ iommu, sriov }: KnownHost): Properties {
  const kind = iommu.kind === undefined ? '' : ` (${iommu.kind})`
  const assignable = iommu.groups.filter((group) => group.assignable).length
  const held = iommu.groups.filter((group) => !group.assignable && group.devices.length > 1)
  return {
    IOMMU: [`${iommu.state}${kind}: ${iommu.reason}`, ...(iommu.remedy === undefined ? [] : [iommu.remedy])],
    'IOMMU groups':
      iommu.groups.length === 0
        ? undefined
        : [
            `${assignable} of ${iommu.groups.length} can be assigned to a VM`,
            ...held.map(({ group, reason }) => `not group ${group}: ${reason}`),
          ],
    'SR-IOV': sriov.map(({ address, driver, interfaces, totalVfs, vfs, used, free }) => {
      const words = [driver ?? 'no driver', ...interfaces].join(', ')
      return `${address} (${words}): ${vfs.length} of ${totalVfs} VFs exist, ${used} used, ${free} free`
    }),
  }
}
