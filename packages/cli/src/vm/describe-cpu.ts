/** The processor of a VM in words: how many vCPUs it has and can have, in which shape, of which model. */
import type { Vm } from '@kvasir/contract'

/** How many vCPUs a VM has: those of its emulator, else those that it will be started with. */
export function vcpusOf({ spec, status }: Vm): number {
  return status.cpu?.count ?? spec.cpu.count
}

/** The CPU time that the vCPUs of a VM have used, in seconds; undefined where nothing is known. */
export function cpuSeconds({ status }: Vm): number | undefined {
  const known = status.vcpus?.flatMap((vcpu) => vcpu.cpuSeconds ?? [])
  return known === undefined || known.length === 0
    ? undefined
    : known.reduce((sum, seconds) => sum + seconds, 0)
}

/** The processor of a VM. */
export function describeCpu(vm: Vm): string {
  const { spec } = vm
  const used = cpuSeconds(vm)
  return [
    vcpus(vm),
    shape(vm),
    model(vm),
    ...flags(spec.cpu.features),
    spec.cpu.nested === 'auto' ? undefined : `nested virtualization ${spec.cpu.nested ? 'on' : 'off'}`,
    used === undefined ? undefined : `${used.toFixed(1)} s used`,
  ]
    .filter((part) => part !== undefined)
    .join(', ')
}

function vcpus(vm: Vm): string {
  const { spec, status } = vm
  const count = vcpusOf(vm)
  const max = status.cpu?.max ?? spec.cpu.max ?? count
  const wanted = count === spec.cpu.count ? '' : ` (${spec.cpu.count} wanted)`
  const room = max === count ? '' : ` of at most ${max}`
  return `${count}${room} vCPU${(max === count ? count : max) === 1 ? '' : 's'}${wanted}`
}

function shape({ spec }: Vm): string | undefined {
  if (spec.cpu.topology === undefined) return undefined
  const { sockets, dies, cores, threads } = spec.cpu.topology
  const parts = [
    `${sockets} socket${sockets === 1 ? '' : 's'}`,
    ...(dies === 1 ? [] : [`${dies} dies`]),
    `${cores} core${cores === 1 ? '' : 's'}`,
    `${threads} thread${threads === 1 ? '' : 's'}`,
  ]
  return parts.join(' x ')
}

function model({ spec, status }: Vm): string {
  const asked = spec.cpu.model
  const used = status.cpu?.model
  return used === undefined || used === asked ? `model ${asked}` : `model ${used} (${asked})`
}

function flags(features: Vm['spec']['cpu']['features']): string[] {
  return Object.entries(features).map(([flag, isOn]) => `${isOn ? '+' : '-'}${flag}`)
}
