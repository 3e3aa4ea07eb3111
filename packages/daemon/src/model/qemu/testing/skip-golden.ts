/** What a golden command line takes of the machine that starts it. */
import * as fs from 'node:fs'
import { hugePageBytes } from '@kvasir/contract'
import { lacking, needs } from '../../../../../../tools/require.ts'
import type { GoldenCase } from '../golden-case.ts'

const hasKvm = (): boolean =>
  fs.existsSync('/dev/kvm') && /\b(vmx|svm)\b/.test(fs.readFileSync('/proc/cpuinfo', 'utf8'))

/** Why this machine cannot start a command line; false where it can. */
export function skipFor({ name, input }: GoldenCase): string | false {
  if (input.accelerator === 'kvm' && !hasKvm()) return lacking('kvm', `${name} is not started`)
  const nodes = {
    vsock: input.vsock ? '/dev/vhost-vsock' : undefined,
    'render-node': input.renderNode,
  } as const
  for (const what of ['vsock', 'render-node'] as const)
    if (nodes[what] && !fs.existsSync(nodes[what])) return lacking(what, `${name} is not started`)
  if (input.spec.devices.tpm && needs('swtpm') !== false) return needs('swtpm')
  return skipForMemory(input.spec.memory)
}

/** The kernel's own answer is asked for in host/qemu, with pages that the test reserves; here only what is there already. */
function skipForMemory({
  size,
  pageSize,
  lock,
  nodes,
}: GoldenCase['input']['spec']['memory']): string | false {
  const absent = nodes.filter((node) => !fs.existsSync(`/sys/devices/system/node/node${node}`))
  if (absent.length > 0) return lacking('numa', `there is no node ${absent.join(', ')}`)
  if (lock) return lacking('memlock', 'a command line that locks memory is started in the lab')
  if (pageSize === 'default') return false
  const bytes = hugePageBytes[pageSize]
  const pool = `/sys/kernel/mm/hugepages/hugepages-${bytes / 1024}kB/free_hugepages`
  const free = fs.existsSync(pool) ? Number(fs.readFileSync(pool, 'utf8')) : 0
  return free * bytes >= size ? false : lacking('hugepages', `${free} pages of ${pageSize} are free`)
}
