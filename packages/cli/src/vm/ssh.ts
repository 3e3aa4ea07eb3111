/** `kvasir vm ssh`: hands over to the system's ssh, at a forwarded port 22 or at an address of the guest. */
import type { Vm } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import { runProgram } from '../run-program.ts'
import { firstAddress } from './list.ts'

const sshPort = 22

export const openSsh: Action = async (context) => {
  const params = { name: context.argument('NAME') }
  const vm = await context.client.call(routes.getVm, { params, signal: context.signal })
  return await runProgram('ssh', [...sshArguments(vm, context.value('user')), ...context.rest])
}

/** The arguments with which ssh reaches a VM's guest. Throws `wrong-state` or `guest-agent-unavailable` when there is no way. */
export function sshArguments(vm: Vm, user: string | undefined): string[] {
  if (vm.status.state !== 'running') {
    throw new KvasirError('wrong-state', `VM ${vm.name} is ${vm.status.state}, so nobody answers ssh there.`)
  }
  const login = user ?? vm.spec.cloudInit?.user
  // Guests come and go at the same address; their keys are kept by VM, not by address.
  const common = [
    '-o',
    `HostKeyAlias=kvasir-${vm.uuid}`,
    '-o',
    'CheckHostIP=no',
    ...(login === undefined ? [] : ['-l', login]),
  ]
  const forward = vm.spec.nics
    .flatMap((nic) => nic.forwards)
    .find((candidate) => candidate.protocol === 'tcp' && candidate.guestPort === sshPort)
  if (forward !== undefined) {
    const host = { '0.0.0.0': '127.0.0.1', '::': '::1' }[forward.hostAddress] ?? forward.hostAddress
    return [...common, '-p', String(forward.hostPort), host]
  }
  const address = vm.spec.nics.some((nic) => nic.mode !== 'user') ? firstAddress(vm) : undefined
  if (address !== undefined) return [...common, address]
  throw new KvasirError(
    'guest-refused',
    `VM ${vm.name} has no forward to port 22 of its guest, so ssh cannot reach it; add one: kvasir vm nic add ${vm.name} mode=user,forward=2222:22`,
  )
}
