/** The endpoints of placements: looked at and planned, never changed. */
import { z } from 'zod'
import { endpoint } from './endpoint.ts'
import { byName, queryFlag } from './parameters.ts'
import { vmPlacement } from './placement.ts'
import { vmSpec } from './vm-spec.ts'

/** The function of a device on the bus, as /sys/bus/pci names it. */
const pciAddress = z
  .string()
  .regex(/^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/, 'is not a PCI address such as 0000:81:00.0')

const devices = z
  .array(pciAddress)
  .max(64)
  .default([])
  .meta({ description: 'PCI addresses of host devices that it is to lie near.' })

/** What can be asked of where VMs lie. */
export const placementEndpoints = {
  placeVm: endpoint({
    id: 'placeVm',
    method: 'GET',
    path: '/v1/vms/{name}/placement',
    summary: 'Where a VM lies on its host, or would lie, and why',
    params: byName,
    query: z.strictObject({
      anew: queryFlag
        .default(false)
        .meta({ description: 'As a start would place it now, whatever is in force.' }),
    }),
    response: vmPlacement,
  }),
  placeSpec: endpoint({
    id: 'placeSpec',
    method: 'POST',
    path: '/v1/vms/{name}/placement',
    summary: 'Where a VM of a spec would lie, and why; changes nothing',
    params: byName,
    body: z.strictObject({ spec: vmSpec, devices }),
    response: vmPlacement,
  }),
} as const
