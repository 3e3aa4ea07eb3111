/** The endpoints of checkpoints, and of disks that are read as they were at one instant. */
import { z } from 'zod'
import { checkpoint, createCheckpointBody, instant, newInstant } from './checkpoint.ts'
import { sentContents } from './contents-schemas.ts'
import { endpoint } from './endpoint.ts'
import { resourceName, uuid } from './names.ts'
import { byName } from './parameters.ts'
import { ticket } from './vm-endpoints.ts'

const byCheckpoint = z.strictObject({ name: resourceName, checkpoint: resourceName })
const byInstant = z.strictObject({ name: resourceName, instant: uuid })

/** What can be asked of checkpoints and instants. */
export const checkpointEndpoints = {
  listCheckpoints: endpoint({
    id: 'listCheckpoints',
    method: 'GET',
    path: '/v1/vms/{name}/checkpoints',
    summary: 'The checkpoints of a VM, oldest first',
    params: byName,
    response: z.array(checkpoint),
  }),
  createCheckpoint: endpoint({
    id: 'createCheckpoint',
    method: 'POST',
    path: '/v1/vms/{name}/checkpoints',
    summary: 'Note from now on what is written to the disks of a running VM',
    params: byName,
    body: createCheckpointBody,
    response: checkpoint,
    status: 201,
    idempotent: true,
  }),
  deleteCheckpoint: endpoint({
    id: 'deleteCheckpoint',
    method: 'DELETE',
    path: '/v1/vms/{name}/checkpoints/{checkpoint}',
    summary: 'Delete a checkpoint',
    params: byCheckpoint,
  }),
  listInstants: endpoint({
    id: 'listInstants',
    method: 'GET',
    path: '/v1/vms/{name}/instants',
    summary: 'The instants of a VM that are kept to be read',
    params: byName,
    response: z.array(instant),
  }),
  createInstant: endpoint({
    id: 'createInstant',
    method: 'POST',
    path: '/v1/vms/{name}/instants',
    summary: 'Keep disks of a running VM as they are now, to be read while the guest writes on',
    params: byName,
    body: newInstant,
    response: instant,
    status: 201,
    idempotent: true,
  }),
  readInstant: endpoint({
    id: 'readInstant',
    method: 'GET',
    path: '/v1/vms/{name}/instants/{instant}/disks/{disk}/contents',
    summary: 'A disk as it was at the instant, or what had changed by then, as a stream',
    params: byInstant.extend({ disk: resourceName }),
    response: sentContents,
    answer: 'contents',
  }),
  nbdTicket: endpoint({
    id: 'nbdTicket',
    method: 'POST',
    path: '/v1/vms/{name}/instants/{instant}/nbd',
    summary:
      'A one-time ticket for a stream of NBD that reads all disks of the instant, each an export of its name; of an increment what qemu:dirty-bitmap:changed tells, and zeros elsewhere',
    params: byInstant,
    response: ticket,
    status: 201,
  }),
  endInstant: endpoint({
    id: 'endInstant',
    method: 'DELETE',
    path: '/v1/vms/{name}/instants/{instant}',
    summary: 'Keep an instant no longer',
    params: byInstant,
  }),
} as const
