/** The threads of a simulated emulator: they have what they were last given, until somebody outside moves one. */
import { formatCpuList, KvasirError } from '@kvasir/contract'
import { cpusOf, type ThreadPlan, type ThreadRole } from '../model/placement/plan-threads.ts'
import type { EmulatorThreads, ThreadUse } from '../ports/emulator-threads.ts'
import type { EmulatorStatistics } from '../ports/emulators.ts'
import type { EmulatorProcess } from './emulator-process.ts'
import type { SimulatedMachine } from './machine.ts'

export class SimulatedThreads implements EmulatorThreads {
  readonly #process: EmulatorProcess
  readonly #machine: SimulatedMachine

  constructor(process: EmulatorProcess, machine: SimulatedMachine) {
    this.#process = process
    this.#machine = machine
  }

  async apply(plan: ThreadPlan, { asKnown = false }: { readonly asKnown?: boolean } = {}): Promise<void> {
    if (!asKnown) await this.#process.answer()
    requirePolicy(plan, this.#machine)
    const { leave = [], ...given } = plan
    const before = this.#process.threadPlan?.share ?? {}
    this.#process.threadPlan = {
      ...given,
      share: {
        weight: leave.includes('cpu.weight') ? before.weight : plan.share.weight,
        quotaPercent: leave.includes('cpu.max') ? before.quotaPercent : plan.share.quotaPercent,
      },
    }
  }

  async inspect(plan: ThreadPlan): Promise<readonly string[]> {
    await this.#process.answer()
    const { threadPlan } = this.#process
    return this.#roles().flatMap((role) => {
      const wanted = formatCpuList(cpusOf(plan, role))
      const actual = threadPlan === undefined ? undefined : formatCpuList(cpusOf(threadPlan, role))
      return actual === wanted
        ? []
        : [`A thread of kind ${role.kind} may run on CPUs ${actual ?? 'of any kind'}.`]
    })
  }

  vcpus(): readonly { readonly index: number; readonly threadId: number }[] {
    const { pid, vcpuCount } = this.#process
    return Array.from({ length: vcpuCount }, (_, index) => ({ index, threadId: pid * 1000 + index }))
  }

  /** What each thread used, when the machine has run for this long. */
  uses(seconds: number): Pick<EmulatorStatistics, 'vcpus' | 'emulatorThread' | 'ioThreads' | 'vhostThreads'> {
    const { pid, request } = this.#process
    const disks = Object.keys(request.plan.ids.disks).slice(0, request.plan.ids.ioThreads.length)
    return {
      vcpus: this.vcpus().map((thread) => ({
        ...thread,
        ...this.#use({ kind: 'vcpu', index: thread.index }, seconds / 20),
      })),
      ...(this.#hasVhost()
        ? { vhostThreads: [{ threadId: pid * 1000 + 900, ...this.#use({ kind: 'vhost' }, seconds / 50) }] }
        : {}),
      emulatorThread: { threadId: pid, ...this.#use({ kind: 'emulator' }, seconds / 100) },
      ioThreads: disks.map((disk, index) => ({
        disk,
        threadId: pid * 1000 + 500 + index,
        ...this.#use({ kind: 'io', disk }, seconds / 100),
      })),
    }
  }

  #hasVhost(): boolean {
    return [...this.#process.nics.plugged.values()].some(({ vhost }) => vhost)
  }

  #use(role: ThreadRole, cpuSeconds: number): Omit<ThreadUse, 'threadId'> {
    const { threadPlan } = this.#process
    const cpus = threadPlan === undefined ? [0, 1, 2, 3, 4, 5, 6, 7] : cpusOf(threadPlan, role)
    const scheduler = role.kind === 'vcpu' ? threadPlan?.scheduler : undefined
    const priority = scheduler !== undefined && 'priority' in scheduler ? `:${scheduler.priority}` : ''
    return {
      cpuSeconds,
      waitSeconds: 0,
      lastCpu: cpus[0] ?? 0,
      cpus: formatCpuList(cpus),
      policy: `${scheduler?.policy ?? 'other'}${priority}`,
    }
  }

  #roles(): readonly ThreadRole[] {
    const disks = Object.keys(this.#process.request.plan.ids.disks)
    return [
      ...this.vcpus().map(({ index }): ThreadRole => ({ kind: 'vcpu', index })),
      { kind: 'emulator' },
      ...(this.#hasVhost() ? [{ kind: 'vhost' } as const] : []),
      ...disks.map((disk): ThreadRole => ({ kind: 'io', disk })),
    ]
  }
}

/** Throws as a kernel that keeps real-time time from the VM does. */
export function requirePolicy(plan: ThreadPlan, machine: SimulatedMachine): void {
  if (machine.allowsRealTime || !('priority' in plan.scheduler)) return
  throw new KvasirError(
    'unsupported',
    `The vCPUs of VM ${plan.name} cannot run under the policy ${plan.scheduler.policy}, because the simulated machine forbids it.`,
  )
}
