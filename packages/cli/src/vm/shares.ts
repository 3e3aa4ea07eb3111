/** `kvasir vm share`: folders of the host that a VM has. */
import type { ShareSpec } from '@kvasir/contract'
import type { Action } from '../command.ts'
import { changeSpec } from './change-spec.ts'
import { parseShare } from './device-words.ts'
import { freeName, readVm, without } from './devices.ts'

export const listShares: Action = async (context) => {
  const { name, spec, status } = await readVm(context)
  await context.output.rows<ShareSpec>(
    spec.shares,
    [
      { title: 'SHARE', show: (share) => share.name },
      { title: 'FOLDER', show: (share) => share.folder },
      { title: 'ACCESS', show: ({ readOnly }) => (readOnly ? 'read-only' : 'read-write') },
      {
        title: 'LOST',
        show: ({ name: share }) =>
          status.lostDevices?.find(({ device }) => device === `shares.${share}`)?.reason ?? '-',
      },
    ],
    `VM ${name} has no shares.`,
  )
  return undefined
}

export const addShare: Action = async (context) => {
  let tag = ''
  await changeSpec(context, (spec) => {
    const share = parseShare(context.argument('PATH,...'), freeName('share', spec.shares))
    tag = share.name
    return { ...spec, shares: [...spec.shares, share] }
  })
  if (context.output.format === 'table')
    context.output.message(`A guest of Linux mounts it by: mount -t virtiofs ${tag} /mnt`)
  return undefined
}

export const removeShare: Action = async (context) => {
  await changeSpec(context, (spec) => ({
    ...spec,
    shares: without(spec.shares, context.argument('SHARE'), 'share'),
  }))
  return undefined
}
