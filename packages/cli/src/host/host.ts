/** The daemon's health, and the audit. */
import type { AuditEntry } from '@kvasir/contract'
import { exitCodes } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import { localTime } from '../output/time.ts'

export const showStatus: Action = async ({ client, output, signal }) => {
  const status = await client.call(routes.getStatus, { signal })
  const counts = Object.entries(status.vms).filter(([, count]) => count > 0)
  await output.properties(status, () => ({
    Daemon: `${status.version}, pid ${status.pid}, since ${localTime(status.startedAt)}`,
    Health: status.healthy ? 'healthy' : 'not healthy',
    ...Object.fromEntries(status.problems.map((problem, index) => [`Problem ${index + 1}`, problem])),
    Accelerator: `${status.accelerator.kind}: ${status.accelerator.reason}`,
    VMs: counts.map(([state, count]) => `${count} ${state}`).join(', ') || 'none',
    Images: status.images,
    Jobs: `${status.jobsRunning} running`,
  }))
  return status.healthy ? undefined : exitCodes.refused
}

export const showAudit: Action = async ({ client, output, signal }) => {
  const audit = await client.call(routes.getAudit, { signal })
  if (output.format === 'table' && audit.clean) {
    output.message(`The store and the machine agree: ${audit.checked} things checked.`)
    return undefined
  }
  if (output.format === 'table') {
    await output.rows<AuditEntry>(
      audit.entries,
      [
        { title: 'KIND', show: (entry) => entry.kind },
        { title: 'THING', show: (entry) => entry.thing },
        { title: 'ID', show: (entry) => entry.id },
        { title: 'DETAIL', show: (entry) => entry.detail },
      ],
      '',
    )
  } else await output.result(audit, () => '')
  return audit.clean ? undefined : exitCodes.refused
}
