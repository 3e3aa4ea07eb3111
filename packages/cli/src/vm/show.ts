/** `kvasir vm show`: what a VM is, how it does, how to reach it, and what waits for its next boot, on one page. */

import type { Vm } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import { formatBytes } from '@kvasir/contract/size'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'
import type { Properties } from '../output/table.ts'
import { timeAndAge } from '../output/time.ts'
import { imageName, type Shelf } from '../volume/chain.ts'
import { describeCpu } from './describe-cpu.ts'
import { describeDevices } from './describe-devices.ts'
import { describeDisks } from './describe-disks.ts'
import { describeVmMemory } from './show-memory.ts'
import { sharingWords, threadLines } from './threads.ts'

const sshPort = 22

export const showVm: Action = async (context) => {
  const { client, output, signal } = context
  const params = { name: context.argument('NAME') }
  const vm = await client.call(routes.getVm, { params, signal })
  await output.properties(vm, async () => {
    const shelf = await readShelf(context)
    // The daemon measures a VM because somebody looks at it; by now it has.
    const measured = await client.call(routes.getVm, { params, signal })
    return describeVm(measured, { shelf, nowMs: Date.now() })
  })
  return undefined
}

/** Volumes and images, to name what a VM's disks are on; without them, ids and names are shown as they are. */
async function readShelf({ client, signal }: Context): Promise<Shelf> {
  const [volumes, images] = await Promise.all([
    client.call(routes.listVolumes, { signal }).catch(() => []),
    client.call(routes.listImages, { signal }).catch(() => []),
  ])
  return { volumes, images }
}

/** What a person wants to know of a VM, by name. */
export function describeVm(
  vm: Vm,
  { shelf, nowMs }: { readonly shelf: Shelf; readonly nowMs: number },
): Properties {
  const { spec, status } = vm
  return {
    Name: vm.name,
    UUID: vm.uuid,
    Description: spec.description || undefined,
    Labels: Object.entries(spec.labels).map(([key, value]) => `${key}=${value}`),
    State: `${status.state}: ${status.reason}`,
    Since: timeAndAge(status.since, nowMs),
    Job: status.job,
    Storage: (status.poolTrouble ?? []).map(
      ({ pool, state, reason, disks }) => `pool ${pool} of ${disks.join(', ')} is ${state}: ${reason}`,
    ),
    'Next boot': waiting(vm),
    'Last exit': lastExit(vm),
    Accelerator: accelerator(vm),
    Machine: `${status.machine ?? spec.machine.type}, ${spec.machine.firmware}${spec.machine.secureBoot ? ' with secure boot' : ''}`,
    CPU: describeCpu(vm),
    'CPU sharing': sharingWords(vm),
    Threads: [...threadLines(vm)],
    Placement: placement(vm),
    ...describeVmMemory(vm, nowMs),
    Boots: boots(vm, shelf),
    Disks: describeDisks(vm, shelf),
    NICs: spec.nics.map((nic) => nicWords(nic, vm)),
    'Host devices': hostDevices(vm),
    Shares: shares(vm),
    Channels: channels(vm),
    Forwards: forwards(vm),
    Devices: describeDevices(vm),
    Lost: status.lostDevices?.map(({ device, reason }) => `${device}: ${reason}`),
    'cloud-init': cloudInit(vm),
    Autostart: autostart(vm),
    Guest: guest(vm),
    Addresses: status.guest?.interfaces.flatMap((nic) => nic.addresses.map((it) => `${nic.name}  ${it}`)),
    Reach: ways(vm),
    VNC: status.vncSocket === undefined ? undefined : `unix:${status.vncSocket}`,
    SPICE: status.spiceSocket === undefined ? undefined : `unix:${status.spiceSocket}`,
    Emulator: emulator(vm),
    Cgroup: status.cgroup,
    'Cage limits': cageLimits(vm),
    Revision: vm.revision,
  }
}

/** Where it lies, or for a VM that is off what its next start is to look for. */
function placement({ spec, status }: Vm): string | undefined {
  if (status.placement !== undefined) return status.placement
  return spec.cpu.placement === 'none' ? undefined : `${spec.cpu.placement}, decided at each start`
}

function waiting({ status }: Vm): string[] {
  const { restartNeeded: fields = [], restartReasons = {} } = status
  if (fields.length === 0) return []
  const reasons = Object.entries(restartReasons).map(([field, reason]) => `${field}: ${reason}`)
  return [`changes ${fields.join(', ')}`, ...reasons]
}

function accelerator({ spec, status }: Vm): string {
  if (status.accelerator === undefined) return `${spec.accelerator}, decided at each start`
  return status.acceleratorReason === undefined
    ? status.accelerator
    : `${status.accelerator}: ${status.acceleratorReason}`
}

function boots({ spec }: Vm, { images }: Shelf): string {
  if (spec.boot.kernel !== undefined) return `kernel ${spec.boot.kernel.kernel}`
  if (spec.image !== undefined) return `image ${imageName(spec.image, images)}`
  return spec.disks.length > 0 ? 'its disks' : 'nothing: it has no image, no kernel and no disk'
}

/** One that is not there before the next boot has no socket yet. */
function channels({ spec, status }: Vm): string[] {
  const there = status.channels ?? []
  const coming = (spec.devices.channels ?? []).filter((name) => !there.some((it) => it.name === name))
  return [
    ...there.map((it) => `${it.name}  ${it.open ? 'open' : 'not open'} in the guest, unix:${it.socket}`),
    ...coming,
  ]
}

function forwards({ spec }: Vm): string[] {
  return spec.nics.flatMap((nic) =>
    nic.forwards.map(
      (it) => `${hostPart(it.hostAddress)}:${it.hostPort} -> ${it.guestPort} (${it.protocol})`,
    ),
  )
}

function trafficWords(counters: NonNullable<NonNullable<Vm['status']['nics']>[number]['counters']>): string {
  const { sentBytes, sendDrops, receivedBytes, receiveDrops } = counters
  const dropped = sendDrops + receiveDrops
  const drops = dropped === 0 ? '' : `, ${dropped} packets dropped`
  return `${formatBytes(sentBytes)} sent, ${formatBytes(receivedBytes)} received${drops}`
}

/** What the rules of its network dropped of what counts as sent or was to be received. */
function ruleDropWords({
  guard,
  limit,
  isolation,
}: NonNullable<NonNullable<Vm['status']['nics']>[number]['ruleDrops']>) {
  const words = [
    ...(guard === 0 ? [] : [`${guard} by its guard`]),
    ...(limit === 0 ? [] : [`${limit} by its limits`]),
    ...(isolation === 0 ? [] : [`${isolation} on the way to other isolated NICs`]),
  ]
  return words.length === 0 ? undefined : `packets dropped: ${words.join(', ')}`
}

/** The VLANs of a port, where it has any. */
function vlanWords({ vlan, trunk }: NonNullable<Vm['status']['nics']>[number]): string {
  if (trunk === undefined) return vlan === undefined ? '' : ` (VLAN ${vlan})`
  return ` (trunk ${trunk.join(', ')}${vlan === undefined ? '' : `, native ${vlan}`})`
}

/** What the cable of a NIC leads to. */
function onwards(way: NonNullable<Vm['status']['nics']>[number]): string {
  if (way.link !== undefined) return `${way.link} (macvtap ${way.macvtapMode})`
  return [way.bridge, ...(way.uplinks.length > 0 ? [way.uplinks.join(', ')] : [])].join(' -> ')
}

/** What its guest and the host share of it; what is as ever is not said. */
function queueWords({ queues, mtu, offloads }: NonNullable<Vm['status']['nics']>[number]): string {
  const words = [...(mtu === 1500 ? [] : [`MTU ${mtu}`]), ...(offloads === 'off' ? ['no offloads'] : [])]
  return `${queues} ${queues === 1 ? 'queue' : 'queues'}${words.length === 0 ? '' : ` (${words.join(', ')})`}`
}

/** A NIC, and the way of its packets where it has one. */
function nicWords(
  { name, network, mode, mac, address, ipv6, link }: Vm['spec']['nics'][number],
  { status }: Vm,
): string {
  const way = status.nics?.find(({ nic }) => nic === name)
  const vf = status.vfs?.find(({ nic }) => nic === name)
  const user = status.userNics?.find(({ nic }) => nic === name)
  const isLost = isNicLost(status, name)
  const words = [
    network ?? mode,
    mac,
    address,
    ipv6,
    link === 'down' ? 'link down' : undefined,
    isLost ? 'lost' : undefined,
    way &&
      !isLost &&
      `${queueWords(way)} -> ${way.vhost ? 'vhost' : 'emulator'} -> ${way.tap}${vlanWords(way)} -> ${onwards(way)}`,
    user && !isLost && `-> ${user.server} (${user.reason}) -> the host's network`,
    vf && `virtual function ${vf.address} of ${vf.pf}`,
    way?.counters && trafficWords(way.counters),
    way?.ruleDrops && ruleDropWords(way.ruleDrops),
  ]
  return `${name}  ${words.filter((word) => typeof word === 'string').join(', ')}`
}

/** Whether what served a NIC on the host is there no more. */
export function isNicLost({ lostDevices }: Vm['status'], nic: string): boolean {
  return lostDevices?.some(({ device }) => device === `nics.${nic}`) ?? false
}

function shares({ spec }: Vm): string[] {
  return spec.shares.map(({ name, folder, readOnly }) => `${name}  ${folder}${readOnly ? ', read-only' : ''}`)
}

function hostDevices({ spec, status }: Vm): string[] {
  return spec.hostDevices.map(({ name, address, vf, model }) => {
    const has = status.hostDevices?.find((given) => given.name === name)?.address
    const wanted = address ?? (vf === undefined ? `any ${model}` : `any VF of ${vf}`)
    return `${name}  ${has === undefined || has === wanted ? wanted : `${wanted}: ${has}`}`
  })
}

function hostPart(address: string): string {
  return address.includes(':') ? `[${address}]` : address
}

function cloudInit({ spec }: Vm): string | undefined {
  const { cloudInit: asked } = spec
  if (asked === undefined) return undefined
  if (asked.userData !== undefined) return 'its own user-data'
  const keys = asked.sshKeys.length
  const words = [
    asked.user === undefined ? undefined : `user ${asked.user}`,
    asked.hostname === undefined ? undefined : `hostname ${asked.hostname}`,
    keys === 0 ? undefined : `${keys} SSH key${keys === 1 ? '' : 's'}`,
  ]
  return words.filter((part) => part !== undefined).join(', ') || 'yes'
}

function autostart({ spec }: Vm): string | undefined {
  return spec.autostart.enabled ? `with the host, order ${spec.autostart.order}` : undefined
}

function guest({ status }: Vm): string | undefined {
  if (status.guest === undefined) return undefined
  const { agent, hostname, os } = status.guest
  return [hostname, os, `agent ${agent}`].filter((part) => part !== undefined).join(', ')
}

/** What to type to get at the guest. */
function ways({ name, spec, status }: Vm): string[] {
  if (status.state !== 'running' && status.state !== 'paused') return []
  const hasSsh = spec.nics.some((nic) =>
    nic.forwards.some((it) => it.guestPort === sshPort && it.protocol === 'tcp'),
  )
  return [
    `kvasir vm console ${name}`,
    ...(hasSsh ? [`kvasir vm ssh ${name}`] : []),
    ...(status.guest?.agent === 'connected' ? [`kvasir vm exec ${name} COMMAND`] : []),
    ...(status.vncSocket === undefined ? [] : [`kvasir vm vnc ${name}`, `kvasir vm screenshot ${name}`]),
    ...(status.spiceSocket === undefined ? [] : [`kvasir vm spice ${name}`]),
    ...(status.channels ?? []).map((channel) => `kvasir vm channel connect ${name} ${channel.name}`),
  ]
}

function emulator({ status }: Vm): string | undefined {
  if (status.pid === undefined) return undefined
  const uid = status.uid === undefined ? '' : `, UID ${status.uid}`
  return `QEMU ${status.qemuVersion ?? 'unknown'}, pid ${status.pid}${uid}`
}

/** What the VM itself asks for and does not get is said in full. */
function cageLimits({ status }: Vm): string[] {
  const limits = status.cageLimits ?? []
  const own = limits.filter((sentence) => sentence.startsWith('Of this VM, '))
  const others = limits.length - own.length
  return [...own, ...(others === 0 ? [] : [`${others} not enforceable on this host; see: kvasir host show`])]
}

function lastExit({ status }: Vm): string | undefined {
  if (status.exit === undefined) return undefined
  const how = status.exit.signal === undefined ? `code ${status.exit.code ?? 'unknown'}` : status.exit.signal
  const lastLine = status.exit.log.trimEnd().split('\n').at(-1)
  return lastLine ? `${how}: ${lastLine}` : how
}
