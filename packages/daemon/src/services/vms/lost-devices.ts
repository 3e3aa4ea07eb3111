/**
 * Devices that the guest has and nobody serves any more: a TPM, a share or a NIC whose process on the host was killed, a NIC whose tap somebody
 * deleted. QEMU takes another in its place only with another device, so what is lost stays lost until that is taken out and plugged again, or
 * the VM's next start; its row says so.
 *
 * So it does of a NIC that was a virtual function and left unasked: the kernel, told to take it from the host, asks QEMU for it, which asks the
 * guest (drivers/vfio/pci, vfio_pci_core_request; hw/vfio/pci.c, vfio_req_notifier_handler). Another one can be plugged at any time.
 */
import type { VmStatus } from '@kvasir/contract'
import { wiresOf } from '../../model/network/wires.ts'
import { shareId } from '../../model/qemu/shares.ts'
import { tpmId } from '../../model/qemu/tpm.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Emit } from '../../ports/events.ts'
import type { Ports } from '../../ports/ports.ts'
import type { LostDevice, VmRecord } from '../../ports/store.ts'

export interface LossParts {
  readonly ports: Pick<Ports, 'clock' | 'log' | 'store'>
  readonly emit: Emit
}

const tpm = 'tpm'
const shareKind = 'shares.'
const vfKind = 'vfs.'
const tapKind = 'taps.'

/** Looks whether what serves the TPM, the shares and the NICs in user mode of a running VM is still there; QEMU does not tell of each. */
export async function lookForHelpers(seat: Seat, emulator: Emulator, parts: LossParts): Promise<void> {
  const { run } = seat.record
  const { devices, shares, nics } = run?.bootedSpec ?? { devices: undefined, shares: [], nics: [] }
  const ids = run?.emulator.plan.ids.nics ?? {}
  const expected = new Map([
    ...(devices?.tpm ? [[tpmId, tpm] as const] : []),
    ...shares.map(({ name }) => [shareId(name), `${shareKind}${name}`] as const),
    ...nics.flatMap(({ name, network }) => {
      const netdev = network === undefined ? ids[name]?.netdev : undefined
      return netdev === undefined ? [] : [[netdev, `nics.${name}`] as const]
    }),
  ])
  if ([...expected.values()].every((device) => isKnown(seat.record, device))) return
  const unconnected: readonly string[] = await emulator.unconnected().catch(() => []) // One that does not answer is asked again.
  for (const [socket, device] of expected) if (unconnected.includes(socket)) noteLoss(seat, device, parts)
}

/**
 * Looks whether the taps of a running VM are still there. A NIC that has lost its own is cut off before that is written down: its guest sees
 * its cable go, and QEMU rests, which would ask a tap that is gone without end.
 */
export async function lookForTaps(seat: Seat, emulator: Emulator, parts: LossParts): Promise<void> {
  const { record } = seat
  const settled = wiresOf(record).filter(
    ({ nic, comes, vf }) =>
      !(comes || vf || record.run?.movingNics?.includes(nic) || isKnown(record, `${tapKind}${nic}`)),
  )
  if (settled.length === 0) return
  const { networks } = parts.ports.store
  const nics = settled.map(({ nic, tap, network }) => ({
    nic,
    tap,
    isMacvtap: networks.findByName(network)?.macvtap !== undefined,
  }))
  const lost = await emulator.nics.withoutTap(nics)
  for (const nic of lost) {
    await emulator.nics.cutOff(nic)
    noteLoss(seat, `${tapKind}${nic}`, parts)
  }
}

/** The helper of a NIC has ended. */
export function noteLostNetwork(seat: Seat, netdev: string, parts: LossParts): void {
  const nics = Object.entries(seat.record.run?.emulator.plan.ids.nics ?? {})
  const nic = nics.find(([, ids]) => ids.netdev === netdev)?.[0] ?? netdev
  noteLoss(seat, `nics.${nic}`, parts)
}

/** A NIC that was a virtual function has left the guest, and nobody had asked it. */
export function noteLostVf(seat: Seat, nic: string, parts: LossParts): void {
  const { run } = seat.record
  const device = `${vfKind}${nic}`
  // It may have come back since it was lost before.
  if (run) seat.update({ run: { ...run, lost: run.lost?.filter((one) => one.device !== device) ?? [] } })
  noteLoss(seat, device, parts)
}

function noteLoss(seat: Seat, device: string, { ports, emit }: LossParts): void {
  const { record } = seat
  if (record.run === undefined || isKnown(record, device)) return
  const lost = [...(record.run.lost ?? []), { device, since: ports.clock.now() }]
  seat.update({ run: { ...record.run, lost } }, () =>
    emit('vm.guest', record.name, {
      uuid: record.id,
      ...lossWords(device),
      reason: reasonOf(record.name, device),
    }),
  )
  ports.log.warn({ vm: record.name, device }, reasonOf(record.name, device))
}

function isKnown({ run }: VmRecord, device: string): boolean {
  return run?.lost?.some((one) => one.device === device) ?? false
}

/** What the VM has lost, with what can be done. A NIC that was taken away since is not missed, nor is a virtual function that has come again. */
export function lostDevices({ name, spec, run }: VmRecord): Pick<VmStatus, 'lostDevices'> {
  const there = new Set(run?.bootedSpec.nics.map((nic) => nic.name))
  const shares = new Set(run?.bootedSpec.shares.map((share) => share.name))
  const lost = run?.lost?.filter(({ device }) => {
    const [nic, vf] = [nicOf(device), vfOf(device)]
    if (vf !== undefined) return !there.has(vf) && spec.nics.some((one) => one.name === vf)
    const tap = tapOf(device)
    if (tap !== undefined) return there.has(tap)
    const share = shareOf(device)
    return share === undefined ? nic === undefined || there.has(nic) : shares.has(share)
  })
  if (lost === undefined || lost.length === 0) return {}
  return {
    lostDevices: lost.map(({ device, since }: LostDevice) => ({
      device: shownOf(device),
      since,
      reason: reasonOf(name, device),
    })),
  }
}

/** What a lost device is, in a word. */
export function lostThing(device: string): string {
  if (shareOf(device) !== undefined) return 'share'
  return (nicOf(device) ?? tapOf(device)) === undefined ? 'TPM' : 'NIC'
}

/** Whether a NIC has lost its tap, and with that its back end. */
export function isCutOff({ run }: Pick<VmRecord, 'run'>, nic: string): boolean {
  return run?.lost?.some(({ device }) => device === `${tapKind}${nic}`) ?? false
}

/** As a spec names it. */
function shownOf(device: string): string {
  const nic = vfOf(device) ?? tapOf(device)
  return nic === undefined ? device : `nics.${nic}`
}

function lossWords(device: string): Readonly<Record<string, string>> {
  const [nic, share, vf] = [nicOf(device) ?? tapOf(device), shareOf(device), vfOf(device)]
  if (share !== undefined) return { share, state: 'lost' }
  if (vf !== undefined) return { nic: vf, device: 'lost' }
  return nic === undefined ? { [device]: 'lost' } : { nic, network: 'lost' }
}

function whatIsLost(device: string): readonly [what: string, effect: string] {
  const [nic, share] = [nicOf(device), shareOf(device)]
  if (share !== undefined)
    return [`virtiofsd, which serves share ${share},`, 'what the guest asks of its files is not answered']
  if (nic !== undefined) return [`The process that serves NIC ${nic} in user mode`, 'that NIC has no network']
  return ['swtpm, which is its TPM,', 'what the guest asks of the TPM fails']
}

function shareOf(device: string): string | undefined {
  return device.startsWith(shareKind) ? device.slice(shareKind.length) : undefined
}

function vfOf(device: string): string | undefined {
  return device.startsWith(vfKind) ? device.slice(vfKind.length) : undefined
}

function tapOf(device: string): string | undefined {
  return device.startsWith(tapKind) ? device.slice(tapKind.length) : undefined
}

function reasonOf(name: string, device: string): string {
  const tap = tapOf(device)
  if (tap !== undefined)
    return `The tap of NIC ${tap} was deleted on the host, so the guest has no network by that NIC, and its cable is out; remove NIC ${tap} of VM ${name} and add it again, or shut VM ${name} down and start it, to bring it back (a reboot of the guest does not).`
  const vf = vfOf(device)
  if (vf !== undefined)
    return `NIC ${vf} was a virtual function that somebody has taken from the host, or that the guest has let go of by itself, so the guest does not have it; the next start of VM ${name} brings another, and applying its spec again plugs one now.`
  const [what, effect] = whatIsLost(device)
  const thing = pluggableOf(device)
  if (thing !== undefined)
    return `${what} has ended, so ${effect}; remove ${thing} of VM ${name} and add it again, or shut VM ${name} down and start it, to bring it back (a reboot of the guest does not).`
  return `${what} has ended, so ${effect}; shut VM ${name} down and start it to bring it back (a reboot of the guest does not).`
}

/** What can be plugged again while the guest runs. */
function pluggableOf(device: string): string | undefined {
  const [nic, share] = [nicOf(device), shareOf(device)]
  if (share !== undefined) return `share ${share}`
  return nic === undefined ? undefined : `NIC ${nic}`
}

function nicOf(device: string): string | undefined {
  return device.startsWith('nics.') ? device.slice('nics.'.length) : undefined
}
