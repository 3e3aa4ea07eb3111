/**
 * Whether the cage of a server of files holds. Its root is the folder that it serves, so nothing of the template is seen there, and it takes
 * the uid of whoever asks; what has to hold is which capabilities it has, that it gains none, and where it lives.
 */
import type { ProcessStatus } from '@kvasir/linux'
import { fileCapabilities } from './cage-request.ts'
import { type CageReport, isCgroupBelow, namespaceBreaches } from './inspect-cage.ts'

/** What is wrong with it, one sentence each; empty when it holds, or has ended meanwhile. */
export function serverBreaches(report: CageReport, expected: { readonly cgroup: string }): readonly string[] {
  if (report.threads.length === 0) return []
  const isInPlace = report.cgroup !== undefined && isCgroupBelow(report.cgroup, expected.cgroup)
  return [
    ...report.threads.flatMap(({ name, status }) => threadBreaches(name, status)),
    ...namespaceBreaches(report),
    ...(isInPlace
      ? []
      : [`It lives in the cgroup ${report.cgroup ?? '(none)'} and not in ${expected.cgroup}.`]),
    ...(report.mounts.length > mostMounts ? [`It sees ${report.mounts.length} mounts.`] : []),
  ]
}

/** Those of the template, its folder and its part of /proc; where it has changed its root, only that. */
const mostMounts = 16

function threadBreaches(name: string, status: ProcessStatus): readonly string[] {
  const allowed = BigInt(fileCapabilities)
  const more = Object.entries(status.capabilities).filter(([, mask]) => (mask & ~allowed) !== 0n)
  const breaches = more.map(([set, mask]) => `has ${set} capabilities (${mask.toString(16)})`)
  if (!status.noNewPrivileges) breaches.push('can gain privileges by exec')
  if (status.seccompMode !== 2) breaches.push('has no system call filter')
  return breaches.map((breach) => `Thread ${name} ${breach}.`)
}
