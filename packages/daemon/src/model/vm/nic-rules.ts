/**
 * What changes of NICs do.
 *
 * A NIC on a network comes behind an empty root port of a guest that runs, goes when that lets go of it, and has another network when its tap
 * is put on the other bridge. One in user mode comes and goes too, with the process that serves it, which was told its forwards when it began. One
 * of mode sriov is a device of the host.
 */
import type { NicSpec, VmSpec } from '@kvasir/contract'
import { pluggableDevices } from '../pci/layout.ts'
import { deviceId } from '../qemu/ids.ts'
import { isConventional, modelOf } from '../qemu/nic-models.ts'
import type { ChangeRule, SpecChange } from './change-rules.ts'
import { lockedWords } from './host-device-rules.ts'
import { isSameValue } from './spec-fields.ts'

const boot = (reason: string): ChangeRule => ({ effect: 'boot', reason })
const live = (reason: string): ChangeRule => ({ effect: 'live', reason })

const byRules = live('the rules of its network can change')
const onRootBus = boot(
  'a NIC of conventional PCI (e1000, rtl8139) is not plugged, and a boot brings it or takes it away',
)
const otherUntilThen = boot('the guest has another NIC of this name until then')

/** The rule for a NIC that one of the specs has and the other has not; `path` is `nics.NAME`. */
export function wholeNicRule(change: SpecChange, path: string): ChangeRule {
  const name = path.slice('nics.'.length)
  const { to, booted } = change
  if (booted === undefined) return boot('NICs are plugged only into a guest that runs')
  if (to.machine.type === 'microvm') return boot('nothing can be plugged into a microvm')
  const wanted = nicOf(to, name)
  const there = nicOf(booted, name)
  if (wanted === undefined) return removalRule(there)
  if (there === undefined) return additionRule(name, booted, change)
  return isSameCard(there, wanted) && isMovable([there, wanted], change) && hasSameHelper(there, wanted)
    ? live('the guest still has it')
    : otherUntilThen
}

/** Whether one in user mode is served as it is wanted: its process does not learn of other forwards. */
export function hasSameHelper(there: NicSpec, wanted: NicSpec): boolean {
  return wanted.network !== undefined || isSameValue(there.forwards, wanted.forwards)
}

/** Whether a NIC comes from one of two networks to the other by its cable alone. */
function isMovable(
  nics: readonly NicSpec[],
  { macvtaps, sriovs }: Pick<SpecChange, 'macvtaps' | 'sriovs'>,
): boolean {
  const networks = new Set(nics.map(({ network = '' }) => network))
  return networks.size === 1 || ![...networks].some((name) => macvtaps.has(name) || sriovs.has(name))
}

function removalRule(there: NicSpec | undefined): ChangeRule {
  if (there === undefined) return live('the guest does not have it yet')
  if (isConventional(there)) return onRootBus
  return live('the guest is asked to let go of it while it runs')
}

/** Disks and NICs that come share the slots that are left. */
function additionRule(name: string, booted: VmSpec, change: SpecChange): ChangeRule {
  const { from, to, freePorts, sriovs } = change
  if (to.nics.some((nic) => nic.name === name && isConventional(nic))) return onRootBus
  if (freePorts === undefined) return boot('it was started by a version that did not note its hardware')
  const known = new Set([...pluggableDevices(booted), ...pluggableDevices(from)])
  const comes = pluggableDevices(to).filter((id) => !known.has(id))
  if (comes.indexOf(deviceId('nic', name)) < freePorts)
    return sriovs.has(nicOf(to, name)?.network ?? '')
      ? live(`a virtual function is handed over while the guest runs, ${lockedWords(to)}`)
      : live('it is plugged while the guest runs')
  return boot(
    `it has ${freePorts} slots left to plug a NIC into; the next boot makes more (machine.spareSlots)`,
  )
}

/** Another network for a NIC that is on one already. */
export function networkRule({ from, to, booted, macvtaps, sriovs }: SpecChange, path: string): ChangeRule {
  const name = path.slice('nics.'.length, path.lastIndexOf('.'))
  if (booted === undefined || [from, to, booted].some((spec) => nicOf(spec, name)?.network === undefined))
    return boot('a NIC comes to its network when the emulator starts')
  const [there, wanted] = [nicOf(booted, name), nicOf(to, name)]
  if (there && wanted && !isSameCard(there, wanted)) return otherUntilThen
  if ([from, to, booted].some((spec) => macvtaps.has(nicOf(spec, name)?.network ?? '')))
    return boot('a NIC on a macvtap has that for as long as it is plugged')
  if ([from, to, booted].some((spec) => sriovs.has(nicOf(spec, name)?.network ?? '')))
    return boot('a NIC that is a virtual function, or is to be one, is another device')
  return live('its cable is put on the bridge of the other network, and the guest sees it go out and in')
}

/** What the card of a NIC is. Of some of that, saying what is so unsaid changes nothing. */
export function cardRule({ from, to }: SpecChange, path: string): ChangeRule {
  const at = path.lastIndexOf('.')
  const [before, after] = [from, to].map((spec) => nicOf(spec, path.slice('nics.'.length, at)))
  const meaningOf = { model: modelOf, offloads: offloadsOf }
  const meaning = Object.entries(meaningOf).find(([field]) => field === path.slice(at + 1))?.[1]
  if (before && after && meaning && meaning(before) === meaning(after))
    return { effect: 'bookkeeping', reason: 'the card is that without being told' }
  const there = 'the guest has the card that it booted with'
  return boot(path.endsWith('.model') ? there : `${there}; removing the NIC and adding it brings another`)
}

/** A network forwards by rules of the host, user mode by a process that knows its ports from its start. */
export function forwardsRule(change: SpecChange, path: string): ChangeRule {
  return staysOnNetworks(change, path)
    ? byRules
    : boot(
        'ports are forwarded by a process that starts with the NIC; removing the NIC and adding it brings another',
      )
}

/** What a network allows a NIC. */
export function guardRule(change: SpecChange, path: string): ChangeRule {
  return staysOnNetworks(change, path) ? byRules : boot('a NIC comes to its network when the emulator starts')
}

function staysOnNetworks({ from, to }: SpecChange, path: string): boolean {
  const name = path.slice('nics.'.length, path.lastIndexOf('.'))
  return [from, to].every((spec) => nicOf(spec, name)?.network !== undefined)
}

/** NICs that a run has and the spec has not, or the other way round, and those that are on another network by now. */
export function movedNics(booted: Pick<VmSpec, 'nics'>, spec: Pick<VmSpec, 'nics'>): readonly string[] {
  const all = new Set([...booted.nics, ...spec.nics].map(({ name }) => name))
  return [...all].sort().filter((name) => {
    const [before, after] = [nicOf(booted, name), nicOf(spec, name)]
    return before === undefined || after === undefined || before.network !== after.network
  })
}

/** Whether a spec wants the device that a guest has; where its cable leads is another matter. */
export function isSameCard(there: NicSpec, wanted: NicSpec): boolean {
  const isSameModel = modelOf(there) === modelOf(wanted) && there.queues === wanted.queues
  const isToldSame = there.mtu === wanted.mtu && offloadsOf(there) === offloadsOf(wanted)
  return there.mode === wanted.mode && there.mac === wanted.mac && isSameModel && isToldSame
}

/** They are on unless told. */
function offloadsOf({ offloads = 'on' }: NicSpec): 'on' | 'off' {
  return offloads
}

/** A NIC of a spec by its name. */
export function nicOf({ nics }: Pick<VmSpec, 'nics'>, name: string): NicSpec | undefined {
  return nics.find((nic) => nic.name === name)
}
