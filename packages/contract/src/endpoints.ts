/** Every endpoint of the REST API, under `/v1`. Long actions answer 202 with a job; `wait` holds the answer until the job has ended. */
import { z } from 'zod'
import { endpoint } from './endpoint.ts'
import { event } from './event.ts'
import { audit, daemonStatus, host } from './host.ts'
import { image, imageRecipes, importFormats, volume } from './image.ts'
import { job } from './job.ts'
import { hostPath, resourceName, sha256, uuid } from './names.ts'
import { byteSize } from './units.ts'
import { vm, vmPlan } from './vm.ts'
import { vmSpec } from './vm-spec.ts'

const byName = z.strictObject({ name: resourceName })
const byImage = z.strictObject({ image: z.string().min(1).max(128) })
const byJob = z.strictObject({ id: uuid })

/** A number in a query string. */
const queryInt = z.coerce.number().pipe(z.int().nonnegative())
/** A boolean in a query string. */
const queryFlag = z.stringbool()
const wait = z.strictObject({
  wait: queryInt
    .pipe(z.int().max(3600))
    .optional()
    .meta({ description: 'Seconds to hold the answer until the job has ended.' }),
})

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
    mode: z.enum(['linked', 'full']).default('linked'),
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

export const endpoints = {
  getStatus: endpoint({
    id: 'getStatus',
    method: 'GET',
    path: '/v1/status',
    summary: 'Daemon, accelerator, counts',
    response: daemonStatus,
  }),
  getHost: endpoint({ id: 'getHost', method: 'GET', path: '/v1/host', summary: 'The host', response: host }),
  getAudit: endpoint({
    id: 'getAudit',
    method: 'GET',
    path: '/v1/audit',
    summary: 'The store against the machine',
    response: audit,
  }),

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

  listImages: endpoint({
    id: 'listImages',
    method: 'GET',
    path: '/v1/images',
    summary: 'All images',
    response: z.array(image),
  }),
  getImage: endpoint({
    id: 'getImage',
    method: 'GET',
    path: '/v1/images/{image}',
    summary: 'One image, by name or id',
    params: byImage,
    response: image,
  }),
  buildImage: endpoint({
    id: 'buildImage',
    method: 'POST',
    path: '/v1/images/build',
    summary: 'Build an image from Debian packages',
    query: wait,
    body: z.strictObject({ recipe: z.enum(imageRecipes), name: resourceName.optional() }),
    response: job,
    status: 202,
    idempotent: true,
  }),
  importImage: endpoint({
    id: 'importImage',
    method: 'POST',
    path: '/v1/images/import',
    summary: 'Import a disk image from a file of the host',
    query: wait,
    body: z.strictObject({ path: hostPath, name: resourceName, format: z.enum(importFormats).optional() }),
    response: job,
    status: 202,
    idempotent: true,
  }),
  pullImage: endpoint({
    id: 'pullImage',
    method: 'POST',
    path: '/v1/images/pull',
    summary: 'Import a disk image from a URL',
    query: wait,
    body: z.strictObject({
      url: z.url({ protocol: /^https?$/ }).max(4096),
      sha256,
      name: resourceName,
      format: z.enum(importFormats).optional(),
      allowPrivate: z.boolean().default(false),
    }),
    response: job,
    status: 202,
    idempotent: true,
  }),
  deleteImage: endpoint({
    id: 'deleteImage',
    method: 'DELETE',
    path: '/v1/images/{image}',
    summary: 'Delete an image that nothing is based on',
    params: byImage,
  }),

  listVolumes: endpoint({
    id: 'listVolumes',
    method: 'GET',
    path: '/v1/volumes',
    summary: 'The volumes of the default pool',
    response: z.array(volume),
  }),
  getVolume: endpoint({
    id: 'getVolume',
    method: 'GET',
    path: '/v1/volumes/{name}',
    summary: 'One volume',
    params: byName,
    response: volume,
  }),
  createVolume: endpoint({
    id: 'createVolume',
    method: 'POST',
    path: '/v1/volumes',
    summary: 'Create an empty volume, or one on an image',
    body: z.strictObject({
      name: resourceName,
      pool: resourceName.default('default'),
      size: byteSize.optional(),
      image: z.string().max(128).optional(),
    }),
    response: volume,
    status: 201,
    idempotent: true,
  }),
  deleteVolume: endpoint({
    id: 'deleteVolume',
    method: 'DELETE',
    path: '/v1/volumes/{name}',
    summary: 'Delete a volume that nobody uses',
    params: byName,
  }),

  listJobs: endpoint({
    id: 'listJobs',
    method: 'GET',
    path: '/v1/jobs',
    summary: 'Jobs, newest first',
    response: z.array(job),
  }),
  getJob: endpoint({
    id: 'getJob',
    method: 'GET',
    path: '/v1/jobs/{id}',
    summary: 'One job',
    params: byJob,
    query: wait,
    response: job,
  }),
  cancelJob: endpoint({
    id: 'cancelJob',
    method: 'POST',
    path: '/v1/jobs/{id}/cancel',
    summary: 'Cancel a job',
    params: byJob,
    response: job,
  }),

  listEvents: endpoint({
    id: 'listEvents',
    method: 'GET',
    path: '/v1/events',
    summary: 'Stored events after a sequence number; by WebSocket, these and all that follow',
    query: z.strictObject({
      after: queryInt.default(0),
      limit: queryInt.pipe(z.int().min(1).max(10000)).default(1000),
    }),
    response: z.array(event),
  }),
} as const

export type Endpoints = typeof endpoints
export type EndpointId = keyof Endpoints

/** WebSocket paths. Each message of the events stream is one event as JSON; consoles carry bytes. */
export const streams = {
  events: '/v1/events/stream',
  console: '/v1/streams/console',
  vnc: '/v1/streams/vnc',
} as const
