/** The endpoint of a VM's channels; what they are is part of its spec. */
import { z } from 'zod'
import { channelName } from './channel-spec.ts'
import { endpoint } from './endpoint.ts'
import { resourceName } from './names.ts'
import { ticket } from './vm-endpoints.ts'

/** What can be asked of a VM's channels. */
export const channelEndpoints = {
  channelTicket: endpoint({
    id: 'channelTicket',
    method: 'POST',
    path: '/v1/vms/{name}/channels/{channel}',
    summary: 'A one-time ticket for a channel, which one at a time can be connected to',
    params: z.strictObject({ name: resourceName, channel: channelName }),
    response: ticket,
    status: 201,
  }),
} as const
