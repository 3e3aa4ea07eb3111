/**
 * Which CPUs of the host a VM may be given, and the refusal of those that it may not: each with its own sentence, which names the CPUs.
 *
 * Not here: which of them to choose (the planner of placements), what a running VM's threads get (plan-threads.ts).
 */
import { formatCpuList, ioThreadsOf, KvasirError, parseCpuList, type VmSpec } from '@kvasir/contract'

/** Sets of host CPUs, ascending; each lies in the one before. */
export interface HostCpuSets {
  readonly present: readonly number[]
  readonly online: readonly number[]
  /** Online and not forbidden by a cpuset: what can be asked for by name. */
  readonly allowed: readonly number[]
  /** What a thread has that asks for nothing; without isolated CPUs. */
  readonly inherited: readonly number[]
}

/** Refuses CPU lists that this host cannot honour, and pins of threads that the VM does not have. `unsupported`, `plan-refused`. */
export function requireUsableCpus(name: string, spec: VmSpec, host: HostCpuSets): void {
  const { cpus, pin } = spec.cpu
  const own = cpus === undefined ? undefined : requireList(`VM ${name}`, cpus, host)
  const pins = [
    ...Object.entries(pin?.vcpus ?? {}).map(
      ([index, list]) => [`vCPU ${index} of VM ${name}`, list] as const,
    ),
    ...(pin?.emulator === undefined ? [] : [[`The emulator thread of VM ${name}`, pin.emulator] as const]),
    ...(pin?.vhost === undefined ? [] : [[`The vhost threads of VM ${name}`, pin.vhost] as const]),
    ...Object.entries(pin?.ioThreads ?? {}).map(
      ([disk, list]) => [`The I/O thread of disk ${disk} of VM ${name}`, list] as const,
    ),
  ]
  for (const [subject, list] of pins) {
    const wanted = requireList(subject, list, host)
    const outside = own === undefined ? [] : wanted.filter((cpu) => !own.includes(cpu))
    if (outside.length > 0)
      throw refusal(subject, outside, `${isAre(outside)} outside the CPUs ${cpus} that the VM may use`)
  }
  requireThreads(name, spec)
}

function requireThreads(name: string, { cpu, disks }: VmSpec): void {
  const most = Math.max(cpu.count, cpu.max ?? 0)
  for (const index of Object.keys(cpu.pin?.vcpus ?? {}))
    if (Number(index) >= most)
      throw new KvasirError(
        'plan-refused',
        `VM ${name} has ${most} vCPU${most === 1 ? '' : 's'}, counted from 0, so its vCPU ${index} cannot be pinned.`,
        { details: { vcpu: Number(index), vcpus: most } },
      )
  for (const disk of Object.keys(cpu.pin?.ioThreads ?? {}))
    if (!ioThreadsOf(disks).includes(disk))
      throw new KvasirError(
        'plan-refused',
        `VM ${name} has no disk ${disk} with an I/O thread, so there is none to pin.`,
        { details: { disk } },
      )
}

function requireList(subject: string, list: string, host: HostCpuSets): readonly number[] {
  const wanted = parseCpuList(list) ?? []
  const missingFrom = (set: readonly number[]) => wanted.filter((cpu) => !set.includes(cpu))
  const nonexistent = missingFrom(host.present)
  if (nonexistent.length > 0)
    throw refusal(
      subject,
      nonexistent,
      `${doesDo(nonexistent)} not exist: this host has CPUs ${formatCpuList(host.present)}`,
    )
  const offline = missingFrom(host.online)
  if (offline.length > 0) throw refusal(subject, offline, `${isAre(offline)} offline`)
  const forbidden = missingFrom(host.allowed)
  if (forbidden.length > 0)
    throw refusal(
      subject,
      forbidden,
      `${isAre(forbidden)} outside the CPUs ${formatCpuList(host.allowed)} that the cpuset of the host's VMs allows`,
    )
  return wanted
}

function refusal(subject: string, cpus: readonly number[], why: string): KvasirError {
  const them = cpus.length === 1 ? 'CPU' : 'CPUs'
  return new KvasirError(
    'unsupported',
    `${subject} cannot be given ${them} ${formatCpuList(cpus)}, which ${why}.`,
    { details: { cpus } },
  )
}

const isAre = (cpus: readonly number[]) => (cpus.length === 1 ? 'is' : 'are')
const doesDo = (cpus: readonly number[]) => (cpus.length === 1 ? 'does' : 'do')
