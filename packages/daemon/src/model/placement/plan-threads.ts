/**
 * From a spec to what the threads of one emulator get: CPUs, shares of CPU time, a scheduling policy.
 *
 * What the spec pins outranks what a planner placed. CPUs that have gone since they were asked for are left out, so that a VM still
 * starts on those that are left; one that would have none is refused. A VM that asks for nothing has no plan, and costs nothing.
 *
 * Not here: whether what is asked for is there (host-cpus.ts), how it is carried out (host/threads).
 */
import { formatCpuList, KvasirError, parseCpuList, type VmSpec } from '@kvasir/contract'
import type { HostCpuSets } from './host-cpus.ts'
import type { ThreadLayout } from './thread-layout.ts'

type Cpu = VmSpec['cpu']

/** A share of CPU time; what is absent is the kernel's default. */
export interface CpuShare {
  readonly weight?: number | undefined
  /** Of one CPU. */
  readonly quotaPercent?: number | undefined
}

/** The kinds of threads of an emulator; `vhost` is the kernel's, for packets of its NICs, `helper` is any thread of a program beside it. */
export type ThreadRole =
  | { readonly kind: 'vcpu'; readonly index: number }
  | { readonly kind: 'io'; readonly disk: string }
  | { readonly kind: 'emulator' }
  | { readonly kind: 'vhost' }
  | { readonly kind: 'helper' }

/** What the threads of an emulator get. */
export interface ThreadPlan {
  /** Of the VM, for sentences. */
  readonly name: string
  /** Online and allowed CPUs only. */
  readonly layout: ThreadLayout
  /** For the threads that the layout does not name. */
  readonly otherCpus: readonly number[]
  /** The CPUs that were online when this was planned. */
  readonly online: readonly number[]
  /** Of the whole VM, against other VMs. */
  readonly share: CpuShare
  /** Of each thread of a kind, against the VM's other threads. */
  readonly threadShares: Readonly<Record<'vcpus' | 'emulator' | 'ioThreads', CpuShare>>
  /** Files of the VM's cgroup that are left as they are. */
  readonly leave?: readonly string[]
  /** Of the vCPU threads. */
  readonly scheduler: NonNullable<Cpu['scheduler']>
}

/** The fields that a plan is made from. */
const tuningFields = ['weight', 'quotaPercent', 'cpus', 'pin', 'threadLimits', 'scheduler'] as const

/** Whether a spec asks for anything that takes a plan. */
export function isTuned(cpu: Cpu): boolean {
  return tuningFields.some((field) => cpu[field] !== undefined)
}

/** The plan of a VM; `placed` is what a planner found for it. `unsupported` when a thread would have no CPU. */
export function planThreads(
  vm: { readonly name: string; readonly cpu: Cpu },
  host: HostCpuSets,
  placed?: ThreadLayout,
): ThreadPlan {
  const { cpu } = vm
  const usable = (subject: string, cpus: readonly number[]) => requireSome(subject, cpus, host.allowed)
  const own =
    cpu.cpus === undefined ? placed?.allowedCpus : usable(`VM ${vm.name}`, parseCpuList(cpu.cpus) ?? [])
  const within = (subject: string, cpus: readonly number[]) => {
    const there = usable(subject, cpus)
    return own === undefined ? there : requireSome(subject, there, own)
  }
  const vcpus = new Map(placed?.vcpus)
  for (const [index, list] of Object.entries(cpu.pin?.vcpus ?? {}))
    vcpus.set(Number(index), within(`vCPU ${index} of VM ${vm.name}`, parseCpuList(list) ?? []))
  const ioThreads = new Map(placed?.ioThreads)
  for (const [disk, list] of Object.entries(cpu.pin?.ioThreads ?? {}))
    ioThreads.set(disk, within(`The I/O thread of disk ${disk} of VM ${vm.name}`, parseCpuList(list) ?? []))
  const emulator =
    cpu.pin?.emulator === undefined
      ? placed?.emulator
      : within(`The emulator thread of VM ${vm.name}`, parseCpuList(cpu.pin.emulator) ?? [])
  const vhost =
    cpu.pin?.vhost === undefined
      ? undefined
      : within(`The vhost threads of VM ${vm.name}`, parseCpuList(cpu.pin.vhost) ?? [])
  const { threadLimits } = cpu
  return {
    name: vm.name,
    layout: {
      vcpus,
      ioThreads,
      ...(own === undefined ? {} : { allowedCpus: own }),
      ...(emulator === undefined ? {} : { emulator }),
      ...(vhost === undefined ? {} : { vhost }),
      ...(placed?.memoryNodes === undefined ? {} : { memoryNodes: placed.memoryNodes }),
    },
    otherCpus: own ?? host.inherited,
    online: host.online,
    share: { weight: cpu.weight, quotaPercent: cpu.quotaPercent },
    threadShares: {
      vcpus: threadLimits?.vcpus ?? {},
      emulator: threadLimits?.emulator ?? {},
      ioThreads: threadLimits?.ioThreads ?? {},
    },
    scheduler: cpu.scheduler ?? { policy: 'other' },
  }
}

function requireSome(subject: string, cpus: readonly number[], of: readonly number[]): readonly number[] {
  const left = cpus.filter((cpu) => of.includes(cpu))
  if (left.length > 0) return left
  const list = formatCpuList(cpus)
  throw new KvasirError(
    'unsupported',
    `${subject} is to run on CPU${cpus.length === 1 ? '' : 's'} ${list}, of which none can be used now, so it cannot run.`,
    { details: { cpus } },
  )
}

/** The CPUs that a thread is to have. */
export function cpusOf(plan: ThreadPlan, role: ThreadRole): readonly number[] {
  return pinOf(plan.layout, role) ?? plan.otherCpus
}

/** The CPUs that the layout names for a thread itself. */
export function pinOf(layout: ThreadLayout, role: ThreadRole): readonly number[] | undefined {
  switch (role.kind) {
    case 'vcpu':
      return layout.vcpus.get(role.index)
    case 'io':
      return layout.ioThreads.get(role.disk)
    case 'emulator':
      return layout.emulator
    case 'vhost':
      return layout.vhost ?? layout.emulator
    case 'helper':
      return undefined
  }
}

/** The share of each thread of a kind. */
export function shareOf(plan: ThreadPlan, role: ThreadRole): CpuShare {
  switch (role.kind) {
    case 'vcpu':
      return plan.threadShares.vcpus
    case 'io':
      return plan.threadShares.ioThreads
    case 'emulator':
    case 'vhost':
      return plan.threadShares.emulator
    case 'helper':
      return {}
  }
}

/** Whether single threads are to be told apart by the kernel; if not, the cgroup of the VM is enough. */
export function namesThreads(plan: ThreadPlan): boolean {
  const { layout, threadShares } = plan
  const shares = Object.values(threadShares)
  return (
    layout.vcpus.size > 0 ||
    layout.ioThreads.size > 0 ||
    layout.emulator !== undefined ||
    layout.vhost !== undefined ||
    shares.some((share) => share.weight !== undefined || share.quotaPercent !== undefined)
  )
}
