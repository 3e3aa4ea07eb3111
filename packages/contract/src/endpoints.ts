/** Every endpoint of the REST API, under `/v1`. Long actions answer 202 with a job; `wait` holds the answer until the job has ended. */
import { z } from 'zod'
import { channelEndpoints } from './channel-endpoints.ts'
import { checkpointEndpoints } from './checkpoint-endpoints.ts'
import { driveEndpoints } from './drive-endpoints.ts'
import { endpoint } from './endpoint.ts'
import { event } from './event.ts'
import { audit, daemonStatus, host } from './host.ts'
import { hostDevice } from './host-device.ts'
import { hostMemory } from './host-memory.ts'
import { hostTopology } from './host-topology.ts'
import { imageEndpoints } from './image-endpoints.ts'
import { job } from './job.ts'
import { moveEndpoints } from './move-endpoints.ts'
import { uuid } from './names.ts'
import { networkEndpoints } from './network-endpoints.ts'
import { queryInt, wait } from './parameters.ts'
import { placementEndpoints } from './placement-endpoints.ts'
import { poolEndpoints } from './pool-endpoints.ts'
import { screenEndpoints } from './screen-endpoints.ts'
import { secretEndpoints } from './secret-endpoints.ts'
import { snapshotEndpoints } from './snapshot-endpoints.ts'
import { transferEndpoints } from './transfer-endpoints.ts'
import { vmEndpoints } from './vm-endpoints.ts'
import { volumeEndpoints } from './volume-endpoints.ts'

export * from './vm-endpoints.ts'

const byJob = z.strictObject({ id: uuid })

/** The API. */
export const endpoints = {
  getStatus: endpoint({
    id: 'getStatus',
    method: 'GET',
    path: '/v1/status',
    summary: 'Daemon, accelerator, counts',
    response: daemonStatus,
  }),
  getHost: endpoint({ id: 'getHost', method: 'GET', path: '/v1/host', summary: 'The host', response: host }),
  getHostTopology: endpoint({
    id: 'getHostTopology',
    method: 'GET',
    path: '/v1/host/topology',
    summary: 'Sockets, L3 domains, cores, NUMA nodes and PCI devices of the host',
    response: hostTopology,
  }),
  listHostDevices: endpoint({
    id: 'listHostDevices',
    method: 'GET',
    path: '/v1/host/devices',
    summary: 'Devices of the host, who uses them, and which of them a VM could be given',
    response: z.array(hostDevice),
  }),
  getHostMemory: endpoint({
    id: 'getHostMemory',
    method: 'GET',
    path: '/v1/host/memory',
    summary: 'The memory of the host, what its VMs have of it, and what they could claim',
    response: hostMemory,
  }),
  getAudit: endpoint({
    id: 'getAudit',
    method: 'GET',
    path: '/v1/audit',
    summary: 'The store against the machine',
    response: audit,
  }),
  ...vmEndpoints,
  ...screenEndpoints,
  ...channelEndpoints,
  ...driveEndpoints,
  ...placementEndpoints,
  ...imageEndpoints,
  ...snapshotEndpoints,
  ...moveEndpoints,
  ...checkpointEndpoints,
  ...poolEndpoints,
  ...volumeEndpoints,
  ...transferEndpoints,
  ...secretEndpoints,
  ...networkEndpoints,
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
  spice: '/v1/streams/spice',
  channel: '/v1/streams/channel',
  nbd: '/v1/streams/nbd',
} as const
