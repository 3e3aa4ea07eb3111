/** `kvasir host memory`: of the daemon's host beside its VMs, or of a captured host, of which no VMs are known. */
import type { Host, HostMemory } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import { formatBytes } from '@kvasir/contract/size'
import type { Action } from '../command.ts'
import type { Properties } from '../output/table.ts'
import { describeMemory } from './describe-memory.ts'

export const showHostMemory: Action = async (context) => {
  const root = context.value('root')
  if (root === undefined) {
    const memory = await context.client.call(routes.getHostMemory, { signal: context.signal })
    await context.output.properties(memory, () => describeHostMemory(memory))
    return undefined
  }
  const { readCapturedMemory } = await import('./captured-host.ts')
  const captured: Host['memory'] = await readCapturedMemory(root)
  await context.output.properties(captured, () => describeMemory(captured))
  return undefined
}

/** The host's memory, the VMs' part in it, and the verdict. */
function describeHostMemory(memory: HostMemory): Properties {
  const { vms, overcommit } = memory
  return {
    ...describeMemory(memory),
    VMs: [
      `${vms.running} running, with ${formatBytes(vms.configuredBytes)}${vms.unanswered === 0 ? '' : `; ${vms.unanswered} of them do not answer`}`,
      ...(vms.balloonBytes < vms.configuredBytes
        ? [`balloons leave ${formatBytes(vms.balloonBytes)} of it`]
        : []),
      ...(vms.maximumBytes > vms.configuredBytes
        ? [`up to ${formatBytes(vms.maximumBytes)} could be plugged`]
        : []),
      `${formatBytes(vms.residentBytes)} resident, ${formatBytes(vms.swappedBytes)} swapped`,
    ],
    Overcommit: `${Math.round(overcommit * 100)} % of the host's memory is given to VMs`,
    Claim: claimWords(memory),
    Tuning: memory.tuning.map(({ setting, wanted, state, value, reason }) =>
      state === 'applied'
        ? `${setting} ${wanted}`
        : `${setting} ${wanted}: ${state}, ${reason ?? ''}${value === undefined ? '' : `; it is ${value}`}`,
    ),
  }
}

function claimWords({ claim }: HostMemory): string[] {
  const { claimableBytes, unsharedBytes, availableBytes, swapFreeBytes, shortBytes, verdict } = claim
  const shared = unsharedBytes === 0 ? '' : ` (${formatBytes(unsharedBytes)} of it shared by KSM now)`
  const verdicts = {
    fits: 'all of it fits',
    swaps: 'that would be swapped',
    short: `${formatBytes(shortBytes)} too little, so the kernel would kill`,
  }
  return [
    `VMs could take ${formatBytes(claimableBytes)} more at once${shared}`,
    `the host could give ${formatBytes(availableBytes)}, and ${formatBytes(swapFreeBytes)} of swap: ${verdicts[verdict]}`,
  ]
}
