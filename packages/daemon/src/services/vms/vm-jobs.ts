/** The long actions on VMs, as jobs. A hopeless one is refused before its job begins. */
import type { Job, JobKind, VmAction } from '@kvasir/contract'
import type { Driver } from '../../ports/drivers.ts'
import { type Durability, ofThisBoot } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import type { Caller } from '../handlers.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { cloneVm } from './clone-vm.ts'
import { requireFreeName } from './create-vm.ts'
import { followMemory, type MemoryRequest, orderMemory } from './resize-memory.ts'
import { saveVm } from './save-vm.ts'
import { ceaseRestart, restartVm, type StartOptions, startVm } from './start-vm.ts'
import { rebootVm, shutdownVm } from './stop-vm.ts'

const startDeadlineMs = 20 * 60_000
const rebootTimeoutMs = 5 * 60_000
const saveDeadlineMs = 60 * 60_000
const cloneDeadlineMs = 6 * 60 * 60_000
/** What a job's own deadline leaves beyond the wait inside it. */
const graceMs = 60_000

interface VmJob {
  readonly kind: JobKind
  readonly action: VmAction
  readonly owner: string
  readonly deadlineMs: number
  readonly alongside?: (job: Job) => void
  readonly durability?: Durability
}

function begin(
  driver: Driver,
  context: Context,
  job: VmJob,
  work: (handle: JobHandle) => Promise<unknown>,
): Job {
  const { record } = driver.view()
  driver.requireAllowed(job.action)
  const subject = { kind: 'vm' as const, name: record.name, id: record.id }
  return context.jobs.run(
    {
      kind: job.kind,
      subject,
      owner: job.owner,
      deadlineMs: job.deadlineMs,
      alongside: job.alongside,
      durability: job.durability,
    },
    async (handle) => {
      const made = await work(handle)
      return typeof made === 'string' ? made : driver.view().record.name
    },
  )
}

function startJob({ name }: Caller): VmJob {
  return {
    kind: 'vm.start',
    action: 'start',
    owner: name,
    deadlineMs: startDeadlineMs,
    durability: ofThisBoot,
  }
}

/** Begins to start a VM. */
export function beginStart(driver: Driver, context: Context, caller: Caller): Job {
  const job = startJob(caller)
  return begin(driver, context, job, (handle) => startVm(driver, context, startOptions(driver, handle)))
}

/** The VM runs and its job has succeeded in one transaction, which is one wait for the disk less. */
function startOptions(driver: Driver, handle: JobHandle): StartOptions {
  return {
    jobId: handle.id,
    signal: handle.signal,
    onStep: (step) => handle.progress(step),
    conclude: (write) => handle.concludeIn(driver.view().record.name, write),
  }
}

/** Begins to start a VM whose row says that it is to be started. */
export async function beginFirstStart(driver: Driver, context: Context, caller: Caller): Promise<void> {
  const job = startJob(caller)
  try {
    begin(driver, context, job, (handle) => restartVm(driver, context, startOptions(driver, handle)))
  } catch (error) {
    await ceaseRestart(driver)
    throw error
  }
}

/** Begins to shut a VM down. */
export function beginShutdown(
  driver: Driver,
  context: Context,
  request: {
    readonly mode: 'auto' | 'agent' | 'acpi'
    readonly timeoutSeconds?: number | undefined
    readonly escalate: boolean
    readonly caller: Caller
  },
): Job {
  const seconds = request.timeoutSeconds ?? driver.view().record.spec.lifecycle.shutdownTimeoutSeconds
  const timeoutMs = seconds * 1000
  const job: VmJob = {
    kind: 'vm.shutdown',
    action: 'shutdown',
    owner: request.caller.name,
    deadlineMs: timeoutMs + graceMs,
  }
  return begin(driver, context, job, (handle) =>
    shutdownVm(driver, context.ports, {
      mode: request.mode,
      escalate: request.escalate,
      timeoutMs,
      signal: handle.signal,
      onStep: (step) => handle.progress(step),
    }),
  )
}

/** Begins to reboot a VM's guest. */
export function beginReboot(driver: Driver, context: Context, caller: Caller): Job {
  const job: VmJob = {
    kind: 'vm.reboot',
    action: 'reboot',
    owner: caller.name,
    deadlineMs: rebootTimeoutMs + graceMs,
  }
  return begin(driver, context, job, (handle) =>
    rebootVm(driver, {
      timeoutMs: rebootTimeoutMs,
      signal: handle.signal,
      onStep: (step) => handle.progress(step),
    }),
  )
}

/** Begins to save a VM's memory. */
export function beginSave(driver: Driver, context: Context, caller: Caller): Job {
  const job: VmJob = { kind: 'vm.save', action: 'save', owner: caller.name, deadlineMs: saveDeadlineMs }
  return begin(driver, context, job, (handle) =>
    saveVm(driver, context.ports, {
      jobId: handle.id,
      signal: handle.signal,
      onProgress: (step, fraction) => handle.progress(step, fraction),
    }),
  )
}

/** Orders memory for a running guest, and begins to wait until the guest has followed. */
export async function beginMemory(
  driver: Driver,
  context: Context,
  request: MemoryRequest & { readonly timeoutSeconds: number; readonly caller: Caller },
): Promise<Job> {
  const ordered = await orderMemory(driver, request, context)
  const timeoutMs = request.timeoutSeconds * 1000
  const job: VmJob = {
    kind: 'vm.memory',
    action: 'memory',
    owner: request.caller.name,
    deadlineMs: timeoutMs + graceMs,
  }
  return begin(driver, context, job, (handle) =>
    followMemory(driver, ordered, {
      context,
      timeoutMs,
      signal: handle.signal,
      onProgress: (step, fraction) => handle.progress(step, fraction),
    }),
  )
}

/** Begins to clone a VM. */
export function beginClone(
  driver: Driver,
  context: Context,
  request: {
    readonly name: string
    readonly mode?: 'linked' | 'full' | undefined
    readonly caller: Caller
    readonly keep: (job: Job) => void
  },
): Job {
  requireFreeName(request.name, context)
  const job: VmJob = {
    kind: 'vm.clone',
    action: 'clone',
    owner: request.caller.name,
    deadlineMs: cloneDeadlineMs,
    alongside: request.keep,
  }
  return begin(driver, context, job, async (handle) => {
    const clone = await cloneVm(driver, context, {
      name: request.name,
      mode: request.mode,
      job: handle,
    })
    return clone.view().record.name
  })
}
