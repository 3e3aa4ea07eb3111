/** The endpoints of VMs. */
import { z } from 'zod'
import { endpoint } from './endpoint.ts'
import { job } from './job.ts'
import { memoryBody } from './memory-tuning.ts'
import { resourceName } from './names.ts'
import { byName, queryFlag, wait } from './parameters.ts'
import { byteSize } from './units.ts'
import { vm, vmPlan } from './vm.ts'
import { vmSpec } from './vm-spec.ts'

/** The body of `vm create`. */
export const createVmBody = z
  .strictObject({
    name: resourceName,
    spec: vmSpec,
    start: z.boolean().default(false),
  })
  .meta({ id: 'CreateVm' })

/** The body of `vm apply` and `vm plan`. */
export const applyVmBody = z.strictObject({ name: resourceName, spec: vmSpec }).meta({ id: 'ApplyVm' })

export const shutdownBody = z
  .strictObject({
    mode: z.enum(['auto', 'agent', 'acpi']).default('auto'),
    timeoutSeconds: z.int().min(1).max(3600).optional(),
    escalate: z
      .boolean()
      .default(false)
      .meta({ description: 'Power off when the guest has not shut down in time.' }),
  })
  .meta({ id: 'ShutdownVm' })

export const cloneBody = z
  .strictObject({
    name: resourceName,
    mode: z.enum(['linked', 'full']).optional().meta({
      description: 'Each disk linked where its pool has linked clones, full otherwise, unless said.',
    }),
  })
  .meta({ id: 'CloneVm' })

export const execBody = z
  .strictObject({
    command: z.array(z.string().max(65536)).min(1).max(1024),
    input: z
      .string()
      .max(1024 * 1024)
      .optional(),
    timeoutSeconds: z.int().min(1).max(3600).default(60),
  })
  .meta({ id: 'ExecVm' })

export const execResult = z
  .strictObject({
    exitCode: z.int().optional(),
    signal: z.int().optional(),
    stdout: z.string(),
    stderr: z.string(),
    truncated: z.boolean(),
  })
  .meta({ id: 'ExecResult' })

export const ticket = z
  .strictObject({
    ticket: z.string(),
    url: z.string().meta({ description: 'The WebSocket path that takes it.' }),
    expiresAt: z.iso.datetime({ offset: true }),
  })
  .meta({ id: 'Ticket' })

/** What can be asked of VMs; every verb of a VM's life. */
export const vmEndpoints = {
  listVms: endpoint({
    id: 'listVms',
    method: 'GET',
    path: '/v1/vms',
    summary: 'All VMs',
    response: z.array(vm),
  }),
  getVm: endpoint({
    id: 'getVm',
    method: 'GET',
    path: '/v1/vms/{name}',
    summary: 'One VM',
    params: byName,
    response: vm,
  }),
  createVm: endpoint({
    id: 'createVm',
    method: 'POST',
    path: '/v1/vms',
    summary: 'Create a VM',
    body: createVmBody,
    response: vm,
    status: 201,
    idempotent: true,
  }),
  applyVm: endpoint({
    id: 'applyVm',
    method: 'PUT',
    path: '/v1/vms/{name}',
    summary: 'Create a VM or change its spec',
    params: byName,
    body: z.strictObject({ spec: vmSpec }),
    response: vm,
    ifMatch: true,
    idempotent: true,
  }),
  planVm: endpoint({
    id: 'planVm',
    method: 'POST',
    path: '/v1/vms/{name}/plan',
    summary: 'What applying a spec would do',
    params: byName,
    body: z.strictObject({ spec: vmSpec }),
    response: vmPlan,
  }),
  deleteVm: endpoint({
    id: 'deleteVm',
    method: 'DELETE',
    path: '/v1/vms/{name}',
    summary: 'Delete a VM',
    params: byName,
    query: z.strictObject({ disks: queryFlag.default(false) }),
    ifMatch: true,
  }),
  renameVm: endpoint({
    id: 'renameVm',
    method: 'POST',
    path: '/v1/vms/{name}/rename',
    summary: 'Give a VM another name',
    params: byName,
    body: byName,
    response: vm,
    ifMatch: true,
  }),
  startVm: endpoint({
    id: 'startVm',
    method: 'POST',
    path: '/v1/vms/{name}/start',
    summary: 'Start a VM, or resume a saved one',
    params: byName,
    query: wait,
    response: job,
    status: 202,
  }),
  shutdownVm: endpoint({
    id: 'shutdownVm',
    method: 'POST',
    path: '/v1/vms/{name}/shutdown',
    summary: 'Ask the guest to shut down',
    params: byName,
    query: wait,
    body: shutdownBody.prefault({}),
    response: job,
    status: 202,
  }),
  rebootVm: endpoint({
    id: 'rebootVm',
    method: 'POST',
    path: '/v1/vms/{name}/reboot',
    summary: 'Ask the guest to reboot',
    params: byName,
    query: wait,
    response: job,
    status: 202,
  }),
  saveVm: endpoint({
    id: 'saveVm',
    method: 'POST',
    path: '/v1/vms/{name}/save',
    summary: 'Save memory to a file and stop',
    params: byName,
    query: wait,
    response: job,
    status: 202,
  }),
  resizeVmMemory: endpoint({
    id: 'resizeVmMemory',
    method: 'POST',
    path: '/v1/vms/{name}/memory',
    summary: 'Give memory to a running guest or take it, and wait until the guest has followed',
    params: byName,
    query: wait,
    body: memoryBody,
    response: job,
    status: 202,
  }),
  cloneVm: endpoint({
    id: 'cloneVm',
    method: 'POST',
    path: '/v1/vms/{name}/clone',
    summary: 'Clone a VM',
    params: byName,
    query: wait,
    body: cloneBody,
    response: job,
    status: 202,
    idempotent: true,
  }),
  powerOffVm: endpoint({
    id: 'powerOffVm',
    method: 'POST',
    path: '/v1/vms/{name}/power-off',
    summary: 'Cut the power',
    params: byName,
    response: vm,
  }),
  resetVm: endpoint({
    id: 'resetVm',
    method: 'POST',
    path: '/v1/vms/{name}/reset',
    summary: 'Press the reset button',
    params: byName,
    response: vm,
  }),
  pauseVm: endpoint({
    id: 'pauseVm',
    method: 'POST',
    path: '/v1/vms/{name}/pause',
    summary: 'Stop the vCPUs',
    params: byName,
    response: vm,
  }),
  resumeVm: endpoint({
    id: 'resumeVm',
    method: 'POST',
    path: '/v1/vms/{name}/resume',
    summary: 'Let the vCPUs run again',
    params: byName,
    response: vm,
  }),
  discardSavedVm: endpoint({
    id: 'discardSavedVm',
    method: 'POST',
    path: '/v1/vms/{name}/discard-saved',
    summary: 'Throw the saved memory away',
    params: byName,
    response: vm,
  }),
  execVm: endpoint({
    id: 'execVm',
    method: 'POST',
    path: '/v1/vms/{name}/exec',
    summary: 'Run a command through the guest agent',
    params: byName,
    body: execBody,
    response: execResult,
  }),
  screenshotVm: endpoint({
    id: 'screenshotVm',
    method: 'GET',
    path: '/v1/vms/{name}/screenshot',
    summary: 'The display as PNG',
    params: byName,
    response: z.instanceof(Uint8Array),
    answer: 'png',
  }),
  logVm: endpoint({
    id: 'logVm',
    method: 'GET',
    path: '/v1/vms/{name}/log',
    summary: 'The end of the emulator log or of the serial console',
    params: byName,
    query: z.strictObject({
      source: z.enum(['emulator', 'serial']).default('serial'),
      bytes: byteSize.default(65536),
    }),
    response: z.string(),
    answer: 'text',
  }),
  consoleTicket: endpoint({
    id: 'consoleTicket',
    method: 'POST',
    path: '/v1/vms/{name}/console',
    summary: 'A one-time ticket for the serial console',
    params: byName,
    body: z.strictObject({ mode: z.enum(['read', 'write', 'take-over']).default('write') }).prefault({}),
    response: ticket,
    status: 201,
  }),
  vncTicket: endpoint({
    id: 'vncTicket',
    method: 'POST',
    path: '/v1/vms/{name}/vnc',
    summary: 'A one-time ticket for the display',
    params: byName,
    response: ticket,
    status: 201,
  }),
} as const
