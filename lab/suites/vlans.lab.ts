/**
 * VLANs of guests, by packets: frames with tags are seen on the other side of the uplink, and where a NIC has no VLAN nothing passes. In the lab,
 * since the filter of VLANs is not in every kernel.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endpoints, type NewNetworkInput, type VmSpecInput } from '@kvasir/contract'
import { eventually } from '../../e2e/machine/eventually.ts'
import { withoutDhcp } from '../../e2e/machine/guest-links.ts'
import { type NetworkRoom, openNetworkRoom, outside } from '../../e2e/machine/network-room.ts'
import { patient } from '../../e2e/machine/patience.ts'
import type { VmHandle } from '../../e2e/machine/vm-handle.ts'
import { openWorld } from '../../e2e/machine/world.ts'
import { needs } from '../../tools/require.ts'
import { sh } from '../testing/shell.ts'

const skip = needs('lab', 'root', 'qemu')
const params = { network: 'office' }
const withinMs = 60_000
const access = (vlan: number) => ({ vlan, flags: ['PVID', 'Egress Untagged'] })

/** The VLANs of each port, as bridge(8) tells them. */
async function vlansOf({ host }: NetworkRoom): Promise<Record<string, unknown>> {
  const ports: { ifname: string; vlans: unknown }[] = JSON.parse(
    await host.run('bridge', '-j', '-compressvlans', 'vlan'),
  )
  return Object.fromEntries(ports.map(({ ifname, vlans }) => [ifname, vlans]))
}

/** The VLANs in which the guest answers. */
async function answersOf({ world: lan }: NetworkRoom): Promise<readonly number[]> {
  const each = []
  for (const vlan of [10, 20, 30])
    if (await lan.can('busybox', 'ping', '-c', '1', '-W', String(patient(1)), `10.${vlan}.0.5`))
      each.push(vlan)
  return each
}

/** The LAN beyond the uplink has VLANs 10, 20 and 30; who answers in one of them was heard with its tag. */
async function openLan(room: NetworkRoom): Promise<void> {
  await sh('modprobe 8021q')
  for (const vlan of [10, 20, 30]) {
    const link = `uplink.${vlan}`
    await room.world.run('ip', 'link', 'add', 'link', 'uplink', 'name', link, 'type', 'vlan', 'id', `${vlan}`)
    await room.world.run('ip', 'address', 'add', `10.${vlan}.0.1/24`, 'dev', link)
    await room.world.run('ip', 'link', 'set', link, 'up')
  }
}

/** The VLANs of a NIC that is in VLAN 20 and has 30 and 40 to 42 with tags. */
function trunkedOf({ bridge, tap }: { readonly bridge: string; readonly tap: string }) {
  return {
    uplink: [access(1), { vlan: 20 }, { vlan: 30 }, { vlan: 40, vlanEnd: 42, flags: [] }],
    [bridge]: [access(1)],
    [tap]: [access(20), { vlan: 30 }, { vlan: 40, vlanEnd: 42, flags: [] }],
  }
}

/** The guest has its addresses in VLANs 10 and 30 with their tags. */
async function openTrunk(vm: VmHandle): Promise<void> {
  for (const n of [10, 30])
    await vm.shell(
      `modprobe 8021q && ip address del 10.${n}.0.5/24 dev eth0 && ip link add link eth0 name eth0.${n} type vlan id ${n}; ${withoutDhcp(`eth0.${n}`)}; ip address add 10.${n}.0.5/24 dev eth0.${n} && ip link set eth0.${n} up`,
    )
}

test('a guest is in the VLANs that it was given, on a bridge around a link, and they are changed while it runs', {
  skip,
}, async (t) => {
  await using room = await openNetworkRoom()
  const { host, world: lan } = room
  await openLan(room)
  await using world = await openWorld(t, { network: host.path })
  const bare = await room.uplinkState()
  const body: NewNetworkInput = {
    name: 'office',
    mode: 'bridge',
    uplink: 'uplink',
    vlanAware: true,
    vlan: 10,
  }
  const { bridge = '' } = await world.client.call(endpoints.createNetwork, { body })
  assert.deepEqual(await vlansOf(room), { uplink: [access(1)], [bridge]: [access(1)] })
  assert.ok(await lan.reaches(outside.host), 'The host is reached without tags.')

  const spec = (nic: object): VmSpecInput => ({ nics: [{ name: 'net0', network: 'office', ...nic }] })
  const web1 = await world.bootTiny('web1', spec({}))
  await web1.shell('ip link set eth0 up; for n in 10 20 30; do ip address add 10.$n.0.5/24 dev eth0; done')
  const reached = () => answersOf(room)
  const { vlan, tap } = (await web1.show()).status.nics?.[0] ?? assert.fail('no NIC')

  assert.deepEqual([vlan, await reached()], [10, [10]])
  assert.deepEqual(await vlansOf(room), {
    uplink: [access(1), { vlan: 10 }],
    [bridge]: [access(1)],
    [tap]: [access(10)],
  })
  const isTold = async () =>
    (await web1.show()).status.nics?.[0]?.uplinks.join() === 'uplink' ? true : undefined
  await eventually(isTold, { withinMs, what: 'the path ends with the uplink' })

  const { changes } = await world.client.call(endpoints.planVm, {
    params: { name: 'web1' },
    body: { spec: { ...(await web1.show()).spec, ...spec({ vlan: 20, trunk: [30, '40-42'] }) } },
  })
  assert.deepEqual(
    changes.map(({ field, effect }) => [field, effect]),
    [
      ['nics.net0.trunk', 'live'],
      ['nics.net0.vlan', 'live'],
    ],
  )
  await web1.apply({ ...(await web1.show()).spec, ...spec({ vlan: 20, trunk: [30, '40-42'] }) })
  const trunked = trunkedOf({ bridge, tap })
  assert.deepEqual(await vlansOf(room), trunked)
  assert.deepEqual(await reached(), [20], 'Without tags it is in the native VLAN alone.')
  await openTrunk(web1)
  assert.deepEqual(
    await reached(),
    [20, 30],
    'Its tags are those of the uplink; one that it has not been given passes nowhere.',
  )

  await world.daemon.kill9()
  await host.run('bridge', 'vlan', 'add', 'dev', tap, 'vid', '99')
  assert.deepEqual(await reached(), [20, 30])
  await world.startDaemon()
  const isRight = async () =>
    JSON.stringify(await vlansOf(room)) === JSON.stringify(trunked) ? true : undefined
  await eventually(isRight, { withinMs, what: 'what somebody changed is put right' })
  await world.assertCleanAudit()

  await web1.powerOff()
  await world.client.call(endpoints.stopNetwork, { params })
  assert.equal(await room.uplinkState(), bare)
})

test('on a bridge of others only our ports get VLANs, and one that does not filter stays as it is', {
  skip,
}, async (t) => {
  await using room = await openNetworkRoom()
  const { host, world: lan } = room
  await openLan(room)
  await sh('modprobe bonding max_bonds=0')
  await host.run('ip', 'link', 'add', 'br0', 'type', 'bridge')
  await host.run('ip', 'link', 'set', 'uplink', 'master', 'br0')
  await host.run('ip', 'link', 'set', 'br0', 'up')
  await using world = await openWorld(t, { network: host.path })
  const create = (wanted: Partial<NewNetworkInput>) =>
    world.client.call(endpoints.createNetwork, {
      body: { name: 'office', mode: 'bridge', bridge: 'br0', vlanAware: true, ...wanted },
    })
  await assert.rejects(create({}), /br0 does not tell VLANs apart.*vlan_filtering 1/)
  assert.match(await host.run('ip', '-d', 'link', 'show', 'br0'), /vlan_filtering 0/)
  await host.run('ip', 'link', 'set', 'br0', 'type', 'bridge', 'vlan_filtering', '1')
  await host.run('bridge', 'vlan', 'add', 'dev', 'uplink', 'vid', '10-30')
  const bare = [await room.hostState(), await host.run('bridge', '-j', 'vlan')]

  await create({ vlan: 30 })
  await create({ name: 'other', vlan: 20 })
  const web1 = await world.bootTiny('web1', {
    nics: [
      { name: 'net0', network: 'office' },
      { name: 'net1', network: 'other' },
    ],
  })
  await web1.shell(
    // Of two NICs a guest answers by either for what the other has.
    'ip link set eth1 down; ip link set eth0 up; ip address add 10.30.0.5/24 dev eth0; ip address add 10.20.0.5/24 dev eth0',
  )
  assert.deepEqual([await lan.reaches('10.30.0.5'), await lan.reaches('10.20.0.5')], [true, false])
  const taps = (await web1.show()).status.nics?.map(({ tap }) => tap) ?? []
  assert.deepEqual(await vlansOf(room), {
    uplink: [access(1), { vlan: 10, vlanEnd: 30, flags: [] }],
    br0: [access(1)],
    [taps[0] ?? '']: [access(30)],
    [taps[1] ?? '']: [access(20)],
  })

  await web1.powerOff()
  for (const network of ['office', 'other'])
    await world.client.call(endpoints.stopNetwork, { params: { network } })
  assert.deepEqual([await room.hostState(), await host.run('bridge', '-j', 'vlan')], bare)

  // A bond, and a VLAN device on top of it, are links to make a bridge around, too.
  for (const command of [
    'link del br0',
    'link set uplink down',
    'link add bond0 type bond mode active-backup',
    'link set uplink master bond0',
    'link set bond0 up',
    'link add link bond0 name bond0.10 type vlan id 10',
    'address add 10.10.0.7/24 dev bond0.10',
    'link set bond0.10 up',
  ])
    await host.run('ip', ...command.split(' '))
  await assert.rejects(
    create({ name: 'on', bridge: undefined, uplink: 'uplink' }),
    /name bond0 as the uplink/,
  )
  await create({ name: 'on', bridge: undefined, uplink: 'bond0.10', vlanAware: false })
  await create({ name: 'bonded', bridge: undefined, uplink: 'bond0', vlanAware: false })
  assert.match(await host.run('ip', '-br', 'address', 'show', 'type', 'bridge'), /10\.10\.0\.7/)
  await eventually(async () => ((await lan.reaches('10.10.0.7')) ? true : undefined), {
    withinMs,
    what: 'the host is reached by a VLAN of a bond',
  })
})
