/** Macvtaps of the modes private and vepa, by packets: whom guests reach, by which way, and how fast. */
import assert from 'node:assert/strict'
import { endpoints } from '@kvasir/contract'
import { eventually } from './eventually.ts'
import { withoutDhcp } from './guest-links.ts'
import type { NetworkRoom } from './network-room.ts'
import type { VmHandle } from './vm-handle.ts'
import type { World } from './world.ts'

const withinMs = 60_000

/** Of the modes in which guests of one link do not simply reach each other: who does, and by which way. */
const apart = {
  private: { net: '10.21.0', mac: '52:54:00:00:00:61' },
  vepa: { net: '10.22.0', mac: '52:54:00:00:00:62' },
} as const
type ApartMode = keyof typeof apart
const apartModes = ['private', 'vepa'] as const

/** A link for each mode with another guest on it, and the LAN behind as a switch that sends back what it gets where it is told to. */
async function openApart(room: NetworkRoom): Promise<void> {
  const { host, world: lan } = room
  await lan.run('ip', 'link', 'add', 'switch', 'up', 'type', 'bridge')
  for (const mode of apartModes) {
    const { net } = apart[mode]
    const peer = ['type', 'veth', 'peer', 'name', mode, 'netns', lan.name]
    await host.run('ip', 'link', 'add', mode, 'up', ...peer)
    await lan.run('ip', 'link', 'set', mode, 'master', 'switch', 'up')
    await lan.run('ip', 'address', 'add', `${net}.1/24`, 'dev', 'switch')
    const other = await room.addNamespace()
    const macvlan = ['type', 'macvlan', 'mode', mode]
    await host.run('ip', 'link', 'add', 'link', mode, 'name', 'mv0', 'netns', other.name, ...macvlan)
    await other.run('ip', 'address', 'add', `${net}.60/24`, 'dev', 'mv0')
    await other.run('ip', 'link', 'set', 'mv0', 'up')
  }
}

/** In mode vepa frames for a neighbour go out by the link and come back where its switch does that; in mode private none ever arrives. */
export async function keepsApart(room: NetworkRoom, world: World, vm: VmHandle): Promise<void> {
  await openApart(room)
  const { spec } = await vm.show()
  const nics = apartModes.map((mode) => ({ name: mode, network: mode, mac: apart[mode].mac }))
  for (const mode of apartModes)
    await world.client.call(endpoints.createNetwork, {
      body: { name: mode, mode: 'macvtap', link: mode, macvtapMode: mode },
    })
  await vm.apply({ ...spec, nics: [...spec.nics, ...nics] })
  await settled(vm)
  // Each address is answered for by its own NIC alone.
  await vm.shell('for f in arp_ignore arp_announce; do echo 2 >/proc/sys/net/ipv4/conf/all/$f; done')
  for (const mode of apartModes) {
    const { net, mac } = apart[mode]
    const link = `$(basename $(dirname $(grep -l ${mac} /sys/class/net/*/address)))`
    const isThere = async () => ((await vm.run(`[ -d /run/dhcp.${link} ]`)).exitCode === 0 ? true : undefined)
    await eventually(isThere, { withinMs, what: 'the guest has the NIC' })
    await vm.shell(
      `link=${link}; ${withoutDhcp('$link')}; ip address add ${net}.5/24 dev $link && ip link set $link up`,
    )
  }
  const answers = async (mode: ApartMode, last: number) =>
    (await vm.run(`ping -c 2 -W 2 ${apart[mode].net}.${last}`)).exitCode === 0
  const reached = (last: number) => Promise.all(apartModes.map((mode) => answers(mode, last)))

  const areOut = async () => ((await reached(1)).every(Boolean) ? true : undefined)
  await eventually(areOut, { withinMs, what: 'guests of both modes reach the LAN' })
  assert.deepEqual(await reached(60), [false, false], 'Neither reaches its neighbour beside the switch.')
  for (const mode of apartModes) await room.world.run('bridge', 'link', 'set', 'dev', mode, 'hairpin', 'on')
  assert.deepEqual(await reached(60), [false, true], 'The switch sends back what it gets.')
  await isHeldBack(vm)

  await vm.apply(spec)
  await settled(vm)
  for (const mode of apartModes)
    await world.client.call(endpoints.deleteNetwork, { params: { network: mode } })
  for (const mode of apartModes) await room.host.run('ip', 'link', 'delete', mode)
}

/** A limit of either way is changed while it runs: twenty packets of 60 kB in two seconds are more than it, and its burst, let pass in ten. */
async function isHeldBack(vm: VmHandle): Promise<void> {
  const { spec } = await vm.show()
  const passed = async (limits: { readonly send?: number; readonly receive?: number } | undefined) => {
    await vm.apply({
      ...spec,
      nics: spec.nics.map((nic) => (nic.name === 'vepa' ? { ...nic, limits } : nic)),
    })
    await settled(vm)
    const { stdout } = await vm.run(`ping -q -c 20 -i 0.1 -W 2 -s 60000 ${apart.vepa.net}.1`)
    return Number(/(\d+) packets received/.exec(stdout)?.[1] ?? assert.fail(stdout))
  }
  const all = await passed(undefined)
  assert.ok(all >= 18, `${all} of 20 passed without a limit`)
  for (const limits of [{ send: 65_536 }, { receive: 65_536 }]) {
    const count = await passed(limits)
    assert.ok(count > 0 && count < 15, `${count} of 20 passed with ${JSON.stringify(limits)}`)
  }
}

/** Its NICs are as its spec says. */
export async function settled(vm: VmHandle): Promise<void> {
  const isSettled = async () => {
    const { status } = await vm.show()
    return status.job === undefined && status.restartNeeded?.length === 0 ? true : undefined
  }
  await eventually(isSettled, { withinMs, what: 'its NICs are as its spec says' })
}
