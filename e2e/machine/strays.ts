/**
 * What is on the host under a daemon's names while it serves, against what its VMs may have there. Looked for from outside: the
 * daemon's own audit is asked besides.
 */
import { readFile } from 'node:fs/promises'
import { endpoints, type Network, type Vm } from '@kvasir/contract'
import { leftoversOf } from './leftovers.ts'
import type { World } from './world.ts'

/** States in which a VM has an emulator. */
const emulated: readonly string[] = ['running', 'paused', 'stopping', 'unknown', 'starting']

/** Names everything on the host that belongs to no VM, or to one that should not have it. */
export async function straysOf(world: World): Promise<readonly string[]> {
  // Who asks for networks waits until what a former daemon left of them is in order.
  const networks = await world.client.call(endpoints.listNetworks)
  const [vms, left] = await Promise.all([world.client.call(endpoints.listVms), leftoversOf(world.place)])
  const strays: string[] = []
  for (const line of left)
    if (!isOfNetwork(line, networks) && !(await isExpected(line, { world, vms }))) strays.push(line)
  return strays
}

/** The dnsmasq and the folder of a network that is started, and the leases of one that is stopped too. */
function isOfNetwork(line: string, networks: readonly Network[]): boolean {
  return networks.some(
    ({ id, state }) =>
      line.endsWith(`/state/networks/${id}.leases`) ||
      (state !== 'inactive' && line.includes(`/run/networks/${id}`)),
  )
}

/** Whether a process is one of those by which the daemon touches pools; they end with it. */
async function touchesPool(pid: string, daemonPid: number): Promise<boolean> {
  const [status, command] = await Promise.all(
    ['status', 'cmdline'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')),
  )
  return command?.includes('pool-hands.pl') === true && status?.includes(`\nPPid:\t${daemonPid}\n`) === true
}

async function isExpected(
  line: string,
  { world, vms }: { readonly world: World; readonly vms: readonly Vm[] },
): Promise<boolean> {
  const { place, daemon } = world
  const running = vms.filter((vm) => emulated.includes(vm.status.state)).map((vm) => vm.uuid)
  const [kind, what = ''] = line.split(' ')
  if (kind === 'process') {
    if (Number(what) === daemon.pid) return true
    if (await touchesPool(what, daemon.pid)) return true
    const group = await readFile(`/proc/${what}/cgroup`, 'utf8').catch(() => undefined)
    const stat = await readFile(`/proc/${what}/stat`, 'utf8').catch(() => '')
    if (/\) [ZX] /.test(stat)) return true // It has ended; whoever inherited it has not noticed yet.
    return group === undefined || running.some((id) => group.includes(`/vm-${id}`))
  }
  if (kind === 'cgroup') return running.some((id) => what.endsWith(`/vm-${id}`))
  if (kind !== 'file') return false
  if (what === place.socketPath) return true
  const path = what.slice(place.base.length + 1)
  if (path.startsWith('state/volumes/')) return true // The audit knows which volumes there are.
  if (path.startsWith('run/vms/')) return running.some((id) => path.endsWith(id))
  if (path.startsWith('state/saves/'))
    return vms.some((vm) => vm.status.state === 'saved' && path === `state/saves/${vm.uuid}.memory`)
  return vms.some((vm) => path === `log/vms/${vm.uuid}` || path === `state/seeds/${vm.uuid}.iso`)
}
