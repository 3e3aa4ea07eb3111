/** `kvasir vm show`. */
import type { Vm } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import { formatBytes } from '@kvasir/contract/size'
import type { Action } from '../command.ts'

export const showVm: Action = async (context) => {
  const { client, output, signal } = context
  const vm = await client.call(routes.getVm, { params: { name: context.argument('NAME') }, signal })
  await output.properties(vm, () => describeVm(vm))
  return undefined
}

/** What a person wants to know of a VM, by name. */
export function describeVm(vm: Vm): Readonly<Record<string, string | number | undefined>> {
  const { spec, status } = vm
  return {
    Name: vm.name,
    UUID: vm.uuid,
    Description: spec.description || undefined,
    State: `${status.state}: ${status.reason}`,
    Since: status.since,
    Job: status.job,
    Accelerator: accelerator(vm),
    Machine: status.machine ?? `${spec.machine.type} ${spec.machine.version ?? ''}`.trim(),
    Firmware: spec.machine.firmware,
    vCPUs: spec.cpu.count,
    Memory: memory(vm),
    Image: spec.image,
    Disks: spec.disks.map((disk) => `${disk.name} (${disk.bus})`).join(', ') || undefined,
    NICs: spec.nics.map((nic) => `${nic.name} (${nic.mode})`).join(', ') || undefined,
    Forwards: forwards(vm),
    Guest: guest(vm),
    Addresses: status.guest?.interfaces.flatMap((nic) => nic.addresses).join(', ') || undefined,
    Emulator:
      status.pid === undefined ? undefined : `pid ${status.pid}, QEMU ${status.qemuVersion ?? 'unknown'}`,
    Cgroup: status.cgroup,
    'Next boot': status.restartNeeded?.join(', ') || undefined,
    'Cage limits': status.cageLimits?.join('; ') || undefined,
    'Last exit': lastExit(vm),
    Revision: vm.revision,
  }
}

function accelerator({ spec, status }: Vm): string {
  if (status.accelerator === undefined) return spec.accelerator
  return status.acceleratorReason === undefined
    ? status.accelerator
    : `${status.accelerator}: ${status.acceleratorReason}`
}

function memory({ spec, status }: Vm): string {
  const resident = status.residentBytes === undefined ? '' : `, ${formatBytes(status.residentBytes)} resident`
  return formatBytes(spec.memory.size) + resident
}

function forwards({ spec }: Vm): string | undefined {
  const all = spec.nics.flatMap((nic) => nic.forwards)
  return (
    all.map((it) => `${it.protocol} ${it.hostAddress}:${it.hostPort} -> ${it.guestPort}`).join(', ') ||
    undefined
  )
}

function guest({ status }: Vm): string | undefined {
  if (status.guest === undefined) return undefined
  const { agent, hostname, os } = status.guest
  return [hostname, os, `agent ${agent}`].filter((part) => part !== undefined).join(', ')
}

function lastExit({ status }: Vm): string | undefined {
  if (status.exit === undefined) return undefined
  const how = status.exit.signal === undefined ? `code ${status.exit.code ?? 'unknown'}` : status.exit.signal
  const lastLine = status.exit.log.trimEnd().split('\n').at(-1)
  return lastLine ? `${how}: ${lastLine}` : how
}
