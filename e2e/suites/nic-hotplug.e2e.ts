/**
 * NICs that come, go and change their network while a guest runs: its own eyes, its packets, and a daemon that is killed at every step.
 */
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { endpoints, type Job, type VmSpecInput } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { failpointsOf, registeredFailpoints } from '../machine/failpoints.ts'
import { type NetworkRoom, openNetworkRoom } from '../machine/network-room.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const withinMs = 60_000

type Nics = NonNullable<VmSpecInput['nics']>

const lan = { name: 'net0', network: 'lan', antiSpoof: true, mtu: 1400 }
const dmz = { ...lan, network: 'dmz' }

/** Each point, with the NICs that are asked for then; what one leaves is what the next begins with. */
const deaths: readonly (readonly [point: string, wanted: Nics])[] = [
  ['vm.nics.before-plug', [lan]],
  ['vm.nics.before-ask', []],
  ['emulator.plug-nic.after-tap', [lan]],
  ['vm.nics.after-ask', []],
  ['emulator.plug-nic.after-netdev', [lan]],
  ['vm.nics.after-release', []],
  ['emulator.plug-nic.after-device', [lan]],
  ['vm.nics.after-remove', []],
  ['vm.nics.after-plug', [lan]],
  ['vm.nics.before-move', [dmz]],
  ['vm.nics.after-move-row', [lan]],
  ['vm.nics.after-move', [dmz]],
]

interface Scene {
  readonly room: NetworkRoom
  readonly world: World
  readonly vm: VmHandle
  /** Gives the VM these NICs, and answers the job that does it, once that is over. */
  readonly set: (nics: Nics) => Promise<Partial<Job>>
}

test('NICs are plugged, moved and taken away while the guest runs, whatever the daemon dies of in between', {
  skip,
}, async (t) => {
  await using room = await openNetworkRoom()
  await using world = await openWorld(t, { network: room.host.path })
  const failpoints = failpointsOf(world.place)
  await world.daemon.stop()
  const registered = await registeredFailpoints(world.place)
  await world.startDaemon(failpoints.environment)
  for (const [name, subnet] of [
    ['lan', '10.9.0.0/24'],
    ['dmz', '10.9.1.0/24'],
  ] as const)
    await world.client.call(endpoints.createNetwork, { body: { name, ipv4: { subnet } } })
  const before = await room.hostState()
  const vm = await world.bootTiny('web1', { cpu: { count: 2 } })
  const { spec } = await vm.show()
  const set = async (nics: Nics) => await ended(world, await vm.apply({ ...spec, nics }))
  const scene: Scene = { room, world, vm, set }

  await plugAndMove(scene)
  await plugCard(scene)
  await loseTap(scene)
  await failpoints.arm('emulator.plug-nic.after-netdev', 'throw')
  const failed = await set([lan])
  await failpoints.disarm()
  assert.equal(failed.state, 'failed')
  assert.doesNotMatch(await room.host.run('ip', 'link', 'show'), /kvt/, 'A plug that fails leaves no tap.')
  const pid = await vm.pid()
  await set([])
  for (const [point, wanted] of deaths) {
    await failpoints.arm(point, 'exit')
    await set(wanted).catch(() => undefined)
    await world.daemon.exited
    await failpoints.disarm()
    await world.startDaemon(failpoints.environment)
    await untilSettled(scene, { network: wanted[0]?.network, what: point })
    assert.equal(await vm.pid(), pid)
  }
  const own = registered.filter((point) => /^(vm\.nics|emulator\.plug-nic)\./.test(point))
  assert.deepEqual(own.toSorted(), deaths.map(([point]) => point).toSorted(), 'It died at each of them.')

  await untilCarrier(vm, '1')
  await set([])
  const isBare = async () => (linksOf(await room.hostState()) === linksOf(before) ? true : undefined)
  await eventually(isBare, { withinMs, what: 'no tap and no rule is left' })
})

/** The guest has no driver for it, and its bus tells what it is: an Intel 82574L. */
async function plugCard({ vm, set }: Scene): Promise<void> {
  assert.equal((await set([{ ...lan, mtu: undefined, model: 'e1000e' }])).outcome, 'NIC net0 is plugged.')
  const ids = async () => await vm.shell('cat /sys/bus/pci/devices/*/device')
  const isThere = async () => ((await ids()).includes('0x10d3') ? true : undefined)
  await eventually(isThere, { withinMs, what: 'the guest sees the card' })
  await set([])
  assert.ok(!(await ids()).includes('0x10d3'))
}

/** Somebody deletes the tap under the guest, which sees its cable go; QEMU has nothing left to poll, and a NIC that is added anew works. */
async function loseTap({ room, world, vm, set }: Scene): Promise<void> {
  await set([lan])
  await untilNics(vm, 1)
  const tap = (await vm.show()).status.nics?.[0]?.tap ?? ''
  await room.host.run('ip', 'link', 'delete', tap)
  const isTold = async () => (await vm.show()).status.lostDevices?.[0]
  const lost = await eventually(isTold, { withinMs, what: 'the VM says that its NIC has lost its tap' })
  assert.match(`${lost.device}: ${lost.reason}`, /^nics\.net0: The tap of NIC net0 was deleted on the host/)
  await untilCarrier(vm, '0')
  assert.doesNotMatch(await openTaps(await vm.pid()), /^iff:/m)
  assert.match((await world.cli('vm', 'nic', 'list', 'web1')).stdout, /net0 .* lost /)

  assert.equal((await set([])).outcome, 'NIC net0 is gone.')
  await set([lan])
  await untilNics(vm, 1)
  await untilReached(vm, { from: (await vm.show()).spec.nics[0]?.address ?? '', to: '10.9.0.1' })
  assert.equal((await vm.show()).status.lostDevices, undefined)
  await set([])
}

/** What the kernel says of the descriptors of a process; of each queue of a tap, whose it is. */
async function openTaps(pid: number): Promise<string> {
  const folder = `/proc/${pid}/fdinfo`
  const texts = (await readdir(folder)).map((fd) => readFile(`${folder}/${fd}`, 'utf8').catch(() => ''))
  return (await Promise.all(texts)).join('')
}

/** By the guest's own eyes and packets; in the end it has no NIC again. */
async function plugAndMove({ room, world, vm, set }: Scene): Promise<void> {
  assert.equal((await set([lan])).outcome, 'NIC net0 is plugged.')
  const { mac = 'none', address = '' } = (await vm.show()).spec.nics[0] ?? {}
  await untilNics(vm, 1)
  assert.equal(await vm.shell('cat /sys/class/net/eth0/address'), mac)
  await untilReached(vm, { from: address, to: '10.9.0.1' })
  assert.equal((await vm.show()).status.nics?.[0]?.queues, 2)
  const isCounted = async () =>
    ((await vm.show()).status.nics?.[0]?.counters?.sentPackets ?? 0) > 0 ? true : undefined
  await eventually(isCounted, { withinMs, what: 'what the guest sent is counted' })
  await world.assertCleanAudit()

  assert.equal((await world.cli('vm', 'nic', 'set', 'web1', 'net0', 'link=down')).code, 0)
  await untilCarrier(vm, '0')
  assert.equal((await world.cli('vm', 'nic', 'set', 'web1', 'net0', 'link=up')).code, 0)
  await untilCarrier(vm, '1')

  const changes = await carrierChanges(vm)
  const moved = await set([dmz])
  assert.equal(moved.outcome, 'NIC net0 is on network dmz.', JSON.stringify(moved.error))
  const seen = async () => ((await carrierChanges(vm)) >= changes + 2 ? true : undefined)
  await eventually(seen, { withinMs, what: 'the guest saw its cable go out and in' })
  const other = (await vm.show()).spec.nics[0]
  assert.equal(other?.mac, mac)
  await vm.shell('udhcpc -i eth0 -n -q -s /sbin/leased')
  await untilReached(vm, { from: other?.address ?? '', to: '10.9.1.1' })
  const [nic] = (await vm.show()).status.nics ?? []
  assert.match(await room.host.run('ip', 'link', 'show', 'dev', nic?.tap), / mtu 1400 /)
  assert.match(await room.host.run('ip', 'link', 'show', 'dev', nic?.bridge), / mtu 1500 /)
  const rules = await room.host.run('nft', 'list', 'ruleset')
  assert.equal(rules.match(/iifname vmap/g)?.length, 1, 'The guard went along.')

  assert.equal((await set([])).outcome, 'NIC net0 is gone.')
  await untilNics(vm, 0)
}

/** What was asked for is so, and nobody works on it any more: the guest's NIC is on this network, or it has none. */
async function untilSettled(
  { room, world, vm }: Scene,
  { network, what }: { readonly network: string | undefined; readonly what: string },
): Promise<void> {
  await untilNics(vm, network === undefined ? 0 : 1)
  const isSettled = async () => {
    const { status } = await vm.show()
    return status.job === undefined && status.restartNeeded?.length === 0 ? true : undefined
  }
  await eventually(isSettled, { withinMs, what: `${what}: it is settled` })
  const [nic] = (await vm.show()).status.nics ?? []
  assert.equal(nic?.network, network, what)
  if (nic) assert.match(await room.host.run('ip', 'link', 'show', nic.tap), new RegExp(`${nic.bridge}`), what)
  assert.deepEqual((await world.audit()).entries, [], what)
}

/** The job that an edit began, when it is over; one that began none was done already. */
async function ended({ client }: World, vm: { readonly status: { readonly job?: string | undefined } }) {
  const { job } = vm.status
  if (job === undefined) return {} as Partial<Job>
  return await client.call(endpoints.getJob, { params: { id: job }, query: { wait: 60 }, timeoutMs: 90_000 })
}

async function untilNics(vm: VmHandle, count: number): Promise<void> {
  const isSo = async () =>
    (await vm.shell('ls /sys/class/net | grep -c eth; true')) === String(count) ? true : undefined
  await eventually(isSo, { withinMs, what: `the guest has ${count} NICs` })
}

async function untilCarrier(vm: VmHandle, carrier: '0' | '1'): Promise<void> {
  const isSo = async () =>
    (await vm.shell('cat /sys/class/net/eth0/carrier')) === carrier ? true : undefined
  await eventually(isSo, { withinMs, what: `the guest's cable is ${carrier === '1' ? 'in' : 'out'}` })
}

async function carrierChanges(vm: VmHandle): Promise<number> {
  return Number(await vm.shell('cat /sys/class/net/eth0/carrier_changes'))
}

async function untilReached(vm: VmHandle, { from, to }: { readonly from: string; readonly to: string }) {
  const answers = async () =>
    (await vm.run(`ping -c 1 -W 3 -I ${from} ${to}`)).exitCode === 0 ? true : undefined
  await eventually(answers, { withinMs, what: `the guest reaches ${to} from ${from}` })
}

/** Whether a bridge has had a port shows in its flags and state. */
function linksOf(state: string): string {
  return state.replaceAll(/ (UP|DOWN|UNKNOWN) +/g, ' ').replaceAll(/<[^>]*>/g, '')
}
