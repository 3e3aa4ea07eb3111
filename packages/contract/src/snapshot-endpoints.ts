/** The endpoints of the snapshots of a VM. */
import { z } from 'zod'
import { endpoint } from './endpoint.ts'
import { job } from './job.ts'
import { resourceName } from './names.ts'
import { byName, wait } from './parameters.ts'
import { createSnapshotBody, revertSnapshotBody, snapshot } from './snapshot.ts'

const bySnapshot = z.strictObject({ name: resourceName, snapshot: resourceName })

/** What can be asked of snapshots. */
export const snapshotEndpoints = {
  listSnapshots: endpoint({
    id: 'listSnapshots',
    method: 'GET',
    path: '/v1/vms/{name}/snapshots',
    summary: 'The snapshots of a VM, oldest first',
    params: byName,
    response: z.array(snapshot),
  }),
  getSnapshot: endpoint({
    id: 'getSnapshot',
    method: 'GET',
    path: '/v1/vms/{name}/snapshots/{snapshot}',
    summary: 'One snapshot',
    params: bySnapshot,
    response: snapshot,
  }),
  createSnapshot: endpoint({
    id: 'createSnapshot',
    method: 'POST',
    path: '/v1/vms/{name}/snapshots',
    summary: 'Take a snapshot of all disks at one instant, and of the memory when asked',
    params: byName,
    query: wait,
    body: createSnapshotBody,
    response: job,
    status: 202,
    idempotent: true,
  }),
  deleteSnapshot: endpoint({
    id: 'deleteSnapshot',
    method: 'DELETE',
    path: '/v1/vms/{name}/snapshots/{snapshot}',
    summary: 'Delete a snapshot; what the disks hold now and what other snapshots hold stays',
    params: bySnapshot,
    query: wait,
    response: job,
    status: 202,
  }),
  revertSnapshot: endpoint({
    id: 'revertSnapshot',
    method: 'POST',
    path: '/v1/vms/{name}/snapshots/{snapshot}/revert',
    summary: 'Bring a VM back to a snapshot',
    params: bySnapshot,
    query: wait,
    body: revertSnapshotBody.prefault({}),
    response: job,
    status: 202,
  }),
} as const
