/**
 * What changes of devices of the host do: one comes behind an empty root port of a guest that runs, and goes when that lets go of it.
 *
 * What the device costs is part of the reason, since it is the guest's memory: a device reaches all of it at any time, so all of it is locked,
 * and what takes memory from guests takes none from this one (QEMU: docs/devel/vfio-iommufd.rst, system/physmem.c, ram_block_discard_disable).
 */
import type { HostDeviceSpec, VmSpec } from '@kvasir/contract'
import { pluggableDevices } from '../pci/layout.ts'
import { deviceId } from '../qemu/ids.ts'
import type { ChangeRule, SpecChange } from './change-rules.ts'
import { isSameValue } from './spec-fields.ts'

const boot = (reason: string): ChangeRule => ({ effect: 'boot', reason })
const live = (reason: string): ChangeRule => ({ effect: 'live', reason })

/** The rule for a device that one of the specs has and the other has not; `path` is `hostDevices.NAME`. */
export function wholeHostDeviceRule(change: SpecChange, path: string): ChangeRule {
  const name = path.slice('hostDevices.'.length)
  const { to, booted } = change
  if (booted === undefined) return boot('devices of the host are handed over when the emulator starts')
  if (to.machine.type === 'microvm') return boot('nothing can be plugged into a microvm')
  const [wanted, there] = [hostDeviceOf(to, name), hostDeviceOf(booted, name)]
  if ([to, booted].some((spec) => sharesSlot(spec, name)))
    return boot('functions that share a slot come and go with the emulator')
  if (wanted === undefined)
    return there === undefined
      ? live('the guest does not have it yet')
      : live('the guest is asked to let go of it while it runs, and its driver gets it back')
  if (there === undefined) return additionRule(name, booted, change)
  return isSameValue(there, wanted)
    ? live('the guest still has it')
    : boot('the guest has another host device of this name until then')
}

function sharesSlot(spec: VmSpec, name: string): boolean {
  return spec.hostDevices.some((one) => one.with !== undefined && [one.with, one.name].includes(name))
}

/** All that is plugged shares the slots that are left. */
function additionRule(name: string, booted: VmSpec, { from, to, freePorts }: SpecChange): ChangeRule {
  if (freePorts === undefined) return boot('it was started by a version that did not note its hardware')
  const known = new Set([...pluggableDevices(booted), ...pluggableDevices(from)])
  const comes = pluggableDevices(to).filter((id) => !known.has(id))
  if (comes.indexOf(deviceId('host', name)) < freePorts)
    return live(`it is handed over while the guest runs, ${lockedWords(to)}`)
  return boot(
    `it has ${freePorts} slots left to plug a host device into; the next boot makes more (machine.spareSlots)`,
  )
}

/** What a device of the host costs a guest that runs: what gives memory back to the host no longer will. */
export function lockedWords({ devices, memory }: Pick<VmSpec, 'devices' | 'memory'>): string {
  const lost = [
    ...(devices.balloon ? ['the balloon and reports of free pages'] : []),
    ...(memory.ksm ? ['KSM'] : []),
  ]
  const locked = 'whose memory is all locked then'
  return lost.length === 0 ? locked : `${locked}: ${lost.join(' and ')} give the host nothing back any more`
}

/** Devices that a run has and the spec has not, or the other way round. */
export function movedHostDevices(
  booted: Pick<VmSpec, 'hostDevices'>,
  spec: Pick<VmSpec, 'hostDevices'>,
): readonly string[] {
  const all = new Set([...booted.hostDevices, ...spec.hostDevices].map(({ name }) => name))
  return [...all]
    .sort()
    .filter((name) => (hostDeviceOf(booted, name) === undefined) !== (hostDeviceOf(spec, name) === undefined))
}

/** A device of a spec by its name. */
export function hostDeviceOf(
  { hostDevices }: Pick<VmSpec, 'hostDevices'>,
  name: string,
): HostDeviceSpec | undefined {
  return hostDevices.find((device) => device.name === name)
}
