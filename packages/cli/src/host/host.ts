/** The host, the daemon's health, and the audit. */
import type { AuditEntry } from '@kvasir/contract'
import { exitCodes } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import { formatBytes } from '@kvasir/contract/size'
import type { Action } from '../command.ts'
import { localTime } from '../output/time.ts'

/** What a host without a cgroup controller cannot do for VMs. */
const withoutController: ReadonlyMap<string, string> = new Map([
  ['cpu', 'VMs get no shares and no quotas of CPU time'],
  ['cpuset', 'vCPUs are pinned by affinity, not confined'],
  ['io', 'disk bandwidth is not limited'],
  ['memory', 'the memory of emulators is neither limited nor accounted'],
  ['pids', 'processes are limited by RLIMIT_NPROC only'],
])

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

export const showHost: Action = async ({ client, output, signal }) => {
  const host = await client.call(routes.getHost, { signal })
  await output.properties(host, () => ({
    Host: host.hostname,
    Kernel: host.kernel,
    Architecture: host.architecture,
    CPU: `${host.cpu.count} x ${host.cpu.model} (virtualization: ${host.cpu.virtualization})`,
    Memory: `${formatBytes(host.memory.totalBytes)}, ${formatBytes(host.memory.availableBytes)} available`,
    Accelerator: `${host.accelerator.kind}: ${host.accelerator.reason}`,
    QEMU: `${host.qemu.version} (${host.qemu.binary})`,
    Cgroups: `${host.cgroup.version}, controllers ${host.cgroup.controllers.join(' ') || 'none'}`,
    'Not enforced': host.cgroup.missing.map(
      (what) => `${what}: ${withoutController.get(what) ?? 'no such controller'}`,
    ),
    vsock: host.vsock ? 'yes' : 'no',
  }))
  return undefined
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
