/**
 * Giving the threads of an emulator what a plan says: cgroup, CPUs, policy. Safe to repeat; what is already so is left alone.
 *
 * The cgroup of the VM holds its weight, its quota and its CPUs. Only where single threads are told apart it becomes a threaded domain,
 * with a child for each vCPU, each I/O thread and the emulator's own threads. What is read back from /proc decides in the end: a thread
 * that is not where it should be, because the host has no cpuset controller or somebody moved it, is moved by affinity.
 *
 * Not here: what the threads should get (model/placement).
 */
import { formatCpuList, KvasirError } from '@kvasir/contract'
import { setThreads, type ThreadSettings } from '@kvasir/linux'
import { type CpuLimits, cpuLimits } from '../../model/placement/cpu-limits.ts'
import {
  cpusOf,
  namesThreads,
  pinOf,
  shareOf,
  type ThreadPlan,
  type ThreadRole,
} from '../../model/placement/plan-threads.ts'
import { deviceId } from '../../model/qemu/ids.ts'
import type { LimitFiles } from '../../model/vm/limit-files.ts'
import type { CageGroups } from '../cage/cage-groups.ts'
import { claimWorkers } from './claim-workers.ts'
import { type SeenThread, seeThreads, type ThreadSource, vhostProcesses } from './emulator-threads.ts'
import { explainRefusal } from './refused-policy.ts'

/** A pool's worker may be born while its creator is moved; it is found the next time. */
const mostPasses = 3

const emulatorChild = 'emulator'
const vhostChild = 'vhost'

/** The threads of one emulator, and where their cgroup is. */
export interface ThreadTarget extends Omit<ThreadSource, 'helpers'> {
  readonly group: string
  readonly groups: CageGroups
}

/** Gives the threads what the plan says. `unsupported` when the kernel forbids the policy, `host-failed` when it refuses the rest. */
export async function applyThreads(target: ThreadTarget, plan: ThreadPlan): Promise<void> {
  const { group, groups } = target
  await limit(target, {
    name: plan.name,
    limits: cpuLimits(plan.share, plan.layout.allowedCpus),
    write: (files) => groups.limit(group, without(files, plan.leave)),
  })
  const inChildren = await usesChildren(target, plan)
  for (let pass = 0; pass < mostPasses; pass++) {
    const seen = await see(target, { plan, inChildren })
    const moved = inChildren ? await moveThreads(target, seen, { plan, limits: pass === 0 }) : 0
    const now = moved === 0 ? seen : await see(target, { plan, inChildren })
    const settings = now.flatMap((thread) => settingsOf(thread, plan))
    await set(settings, plan)
    if (moved === 0 && settings.length === 0) return
  }
}

/** How the threads differ from the plan, in sentences. Changes nothing. */
export async function inspectThreads(target: ThreadTarget, plan: ThreadPlan): Promise<readonly string[]> {
  const inChildren = await usesChildren(target, plan)
  const seen = await see(target, { plan, inChildren })
  return seen.flatMap((thread) => {
    const { role, report, cgroup } = thread
    const subject = `${wordsOf(role)} (thread ${thread.threadId})`
    const wanted = settingsOf(thread, plan)[0]
    const child = inChildren ? childOf(role, plan) : undefined
    return [
      ...(wanted?.cpus === undefined
        ? []
        : [
            `${subject} may run on CPUs ${report.allowedList} and is to run on ${formatCpuList(wanted.cpus)}.`,
          ]),
      ...(wanted?.policy === undefined
        ? []
        : [`${subject} has the policy ${report.policy ?? 'unknown'} and is to have ${wanted.policy}.`]),
      ...(child === undefined || isIn(cgroup, target.group, child)
        ? []
        : [`${subject} is in the cgroup ${cgroup} and not in ${child} of its VM.`]),
    ]
  })
}

async function see(
  target: ThreadTarget,
  { plan, inChildren }: { readonly plan: ThreadPlan; readonly inChildren: boolean },
): Promise<readonly SeenThread[]> {
  const seen = await seeThreads(await sourceOf(target, plan))
  const child = (role: ThreadRole) => childOf(role, plan)
  return claimWorkers(
    seen.filter((thread) => !isLeftAlone(thread)),
    { plan, child: inChildren ? child : undefined },
  )

  /** A thread of the kernel stays in the cgroup that the kernel chose, until it is pinned by itself. */
  function isLeftAlone({ role, pid, cgroup }: SeenThread): boolean {
    if (role.kind !== 'vhost' || pid === target.record.pid || !inChildren) return false
    return plan.layout.vhost === undefined && !isIn(cgroup, target.group, vhostChild)
  }
}

async function sourceOf(target: ThreadTarget, plan: ThreadPlan): Promise<ThreadSource> {
  const { pid, plan: emulator } = target.record
  // Helpers are in the VM's cgroup; where that confines nobody they are confined one by one.
  const isConfined = plan.layout.allowedCpus === undefined || target.groups.controllers.includes('cpuset')
  const hasVhost = Object.values(emulator.ids.nics).some(({ vhost }) => vhost)
  if (isConfined && !hasVhost) return { ...target, helpers: [] }
  const beside = (await target.groups.processes(target.group)).filter((one) => one !== pid)
  return { ...target, helpers: isConfined ? await vhostProcesses(pid, beside) : beside }
}

/** Children once made stay: they hold what was taken back too. */
async function usesChildren({ groups, group }: ThreadTarget, plan: ThreadPlan): Promise<boolean> {
  if (!groups.controllers.includes('cpu') && !groups.controllers.includes('cpuset')) return false
  return namesThreads(plan) || (await groups.isDivided(group))
}

async function moveThreads(
  target: ThreadTarget,
  seen: readonly SeenThread[],
  how: { readonly plan: ThreadPlan; readonly limits: boolean },
): Promise<number> {
  const { group, groups } = target
  const limits = new Map<string, CpuLimits>()
  const places: { threadId: number; child: string }[] = []
  for (const { threadId, role, cgroup } of seen) {
    const child = childOf(role, how.plan)
    if (child === undefined) continue
    limits.set(child, cpuLimits(shareOf(how.plan, role), pinOf(how.plan.layout, role)))
    if (!isIn(cgroup, group, child)) places.push({ threadId, child })
  }
  if (how.limits || places.length > 0)
    for (const [child, wanted] of limits)
      await limit(target, {
        name: how.plan.name,
        limits: wanted,
        write: (files) => groups.divide(group, child, files),
      })
  await groups.assignThreads(group, places)
  return places.length
}

function without(files: LimitFiles, leave: readonly string[] = []): LimitFiles {
  return Object.fromEntries(Object.entries(files).filter(([file]) => !leave.includes(file)))
}

/** What a host without the controller cannot enforce, the VM's status says; what one with it refuses is an error. */
async function limit(
  { groups }: ThreadTarget,
  {
    name,
    limits,
    write,
  }: {
    readonly name: string
    readonly limits: CpuLimits
    readonly write: (files: Readonly<Record<string, string>>) => Promise<readonly string[]>
  },
): Promise<void> {
  const files = Object.entries(limits.files).filter(([file]) =>
    groups.controllers.some((controller) => file.startsWith(`${controller}.`)),
  )
  const refused = await write(Object.fromEntries(files))
  const missed = refused.filter((file) => limits.asked.includes(file))
  if (missed.length > 0)
    throw new KvasirError(
      'host-failed',
      `The kernel did not take ${missed.map((file) => `${limits.files[file]?.trim()} for ${file}`).join(' and ')} in the cgroup of VM ${name}, so its CPU time is not shared as asked.`,
      { details: { files: missed } },
    )
}

async function set(settings: readonly ThreadSettings[], plan: ThreadPlan): Promise<void> {
  const { name } = plan
  const [refused] = await setThreads(settings)
  if (refused === undefined) return
  if (refused.what === 'policy') throw await explainRefusal(name, { errno: refused.errno, ...plan.scheduler })
  const cpus = settings.find(({ threadId }) => threadId === refused.threadId)?.cpus ?? []
  throw new KvasirError(
    'host-failed',
    `The kernel does not let thread ${refused.threadId} of VM ${name} run on CPUs ${formatCpuList(cpus)} (error ${refused.errno}), so it is not pinned.`,
  )
}

/** What is to be set of a thread; nothing when it is as planned. */
function settingsOf(thread: SeenThread, plan: ThreadPlan): readonly ThreadSettings[] {
  const { threadId, role, report } = thread
  const wanted = cpusOf(plan, role)
  const actual = report.allowedCpus.filter((cpu) => plan.online.includes(cpu))
  const isPinned = formatCpuList(actual) === formatCpuList(wanted)
  const { scheduler } = plan
  const priority = 'priority' in scheduler ? scheduler.priority : 0
  const isScheduled =
    role.kind !== 'vcpu' || (report.policy === scheduler.policy && report.priority === priority)
  if (isPinned && isScheduled) return []
  return [
    {
      threadId,
      ...(isPinned ? {} : { cpus: wanted }),
      ...(isScheduled ? {} : { policy: scheduler.policy, priority }),
    },
  ]
}

/** The name of the child that holds a thread; none for helpers, which stay in the VM's cgroup itself. */
function childOf(role: ThreadRole, { layout }: ThreadPlan): string | undefined {
  switch (role.kind) {
    case 'vcpu':
      return `vcpu${role.index}`
    case 'io':
      return deviceId('io', role.disk)
    case 'emulator':
      return emulatorChild
    case 'vhost':
      return layout.vhost === undefined ? emulatorChild : vhostChild
    case 'helper':
      return undefined
  }
}

function isIn(cgroup: string, group: string, child: string): boolean {
  return cgroup.endsWith(`/${group}/${child}`)
}

function wordsOf(role: ThreadRole): string {
  switch (role.kind) {
    case 'vcpu':
      return `vCPU ${role.index}`
    case 'io':
      return `The I/O thread of disk ${role.disk}`
    case 'emulator':
      return 'The emulator'
    case 'vhost':
      return 'A vhost worker'
    case 'helper':
      return 'A helper'
  }
}
