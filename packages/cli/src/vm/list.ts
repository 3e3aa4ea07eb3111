/** `kvasir vm list`. */
import type { Vm } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import { formatBytes } from '@kvasir/contract/size'
import type { Action } from '../command.ts'
import type { Column } from '../output/table.ts'
import { vcpusOf } from './describe-cpu.ts'

const columns: readonly Column<Vm>[] = [
  { title: 'NAME', show: (vm) => vm.name },
  { title: 'STATE', show: (vm) => vm.status.state },
  { title: 'VCPUS', show: vcpusOf, right: true },
  { title: 'MEMORY', show: (vm) => formatBytes(vm.spec.memory.size), right: true },
  { title: 'ACCEL', show: (vm) => vm.status.accelerator },
  { title: 'ADDRESS', show: (vm) => firstAddress(vm) },
  { title: 'REASON', show: (vm) => vm.status.reason },
]

export const listVms: Action = async ({ client, output, signal }) => {
  const vms = await client.call(routes.listVms, { signal })
  await output.rows(vms, columns, 'There are no VMs yet. Make one: kvasir vm create NAME --image IMAGE')
  return undefined
}

/** The address at which a guest can most likely be reached: the first that is neither loopback nor link-local. */
export function firstAddress(vm: Vm): string | undefined {
  const addresses = vm.status.guest?.interfaces.flatMap((nic) => nic.addresses) ?? []
  return addresses.find((address) => !/^(127\.|::1|fe80:|169\.254\.)/i.test(address))
}
