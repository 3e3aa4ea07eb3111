/** The endpoints of a VM's screen besides VNC: SPICE, and its keyboard. */
import { z } from 'zod'
import { endpoint } from './endpoint.ts'
import { keyNames } from './key-names.ts'
import { resourceName } from './names.ts'
import { ticket } from './vm-endpoints.ts'

const byName = z.strictObject({ name: resourceName })

const mostKeys = 8

const keysBody = z
  .strictObject({
    keys: z
      .array(z.enum(keyNames))
      .min(1)
      .max(mostKeys)
      .meta({ description: 'Pressed one after the other, and let go together.' }),
    holdMs: z.int().min(1).max(5000).default(100),
  })
  .meta({ id: 'SendKeys' })

const spicePassword = z
  .strictObject({ password: z.string(), expiresAt: z.iso.datetime() })
  .meta({ id: 'SpicePassword' })

/** What can be asked of a VM's screen. */
export const screenEndpoints = {
  spiceTicket: endpoint({
    id: 'spiceTicket',
    method: 'POST',
    path: '/v1/vms/{name}/spice',
    summary: 'A one-time ticket for one channel of SPICE',
    params: byName,
    response: ticket,
    status: 201,
  }),
  spicePassword: endpoint({
    id: 'spicePassword',
    method: 'POST',
    path: '/v1/vms/{name}/spice/password',
    summary: 'A new password for SPICE, for a short time; the former one ends, and who is there stays',
    params: byName,
    response: spicePassword,
  }),
  sendKeys: endpoint({
    id: 'sendKeys',
    method: 'POST',
    path: '/v1/vms/{name}/keys',
    summary: 'Press keys of the keyboard',
    params: byName,
    body: keysBody,
  }),
} as const
