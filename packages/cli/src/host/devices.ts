/** `kvasir host devices`: of the daemon's host, or of a captured one. */
import type { HostDevice } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'

export const listDevices: Action = async (context) => {
  const devices = await findDevices(context)
  const shown =
    context.has('all') || context.output.format !== 'table' ? devices : devices.filter(isOfInterest)
  await context.output.rows<HostDevice>(
    shown,
    [
      { title: 'KIND', show: ({ kind }) => kind },
      { title: 'ADDRESS', show: ({ address }) => address },
      { title: 'WHAT', show: ({ what }) => what },
      { title: 'ID', show: ({ vendorId, deviceId }) => vendorId && `${vendorId}:${deviceId}` },
      { title: 'DRIVER', show: ({ driver }) => driver },
      { title: 'NODE', show: ({ node }) => node },
      { title: 'GROUP', show: ({ iommuGroup }) => iommuGroup },
      { title: 'RESET', show: ({ resetMethods }) => resetMethods.join(',') || undefined },
      {
        title: 'USED BY',
        show: ({ vm, usedBy }) => (vm === undefined ? usedBy.join('; ') || undefined : `VM ${vm}`),
      },
      { title: 'FOR A VM', show: ({ assignable, reason }) => `${assignable ? 'yes' : 'no'}: ${reason}` },
    ],
    'No device of this host could be given to a VM; --all shows the others.',
  )
  return undefined
}

/** Bridges stay with the host everywhere. */
function isOfInterest({ kind, assignable, vm, what }: HostDevice): boolean {
  return kind !== 'pci' || assignable || vm !== undefined || !/bridge|SMBus|IOMMU/.test(what)
}

async function findDevices(context: Context): Promise<readonly HostDevice[]> {
  const root = context.value('root')
  if (root === undefined) return await context.client.call(routes.listHostDevices, { signal: context.signal })
  const { readCapturedDevices } = await import('./captured-host.ts')
  return await readCapturedDevices(root)
}
