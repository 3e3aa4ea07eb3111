/** VMs on networks: their guests have addresses and names, reach each other, the host and the world, and leave nothing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { openNetworkRoom, outside } from '../machine/network-room.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const nics = [{ name: 'net0', network: 'lan' }]
const said = nics.map((nic) => ({ ...nic, queues: 1, mtu: 1400, offloads: 'off' as const }))
const params = { network: 'lan' }
const leaseMs = 60_000
const port = 7_777

test('two guests of a network know each other by name and reach the world, also while the daemon is dead', {
  skip,
}, async (t) => {
  await using room = await openNetworkRoom()
  await using world = await openWorld(t, { network: room.host.path })
  const bare = await room.hostState()
  await world.client.call(endpoints.createNetwork, { body: { name: 'lan', ipv4: { subnet: '10.9.0.0/24' } } })
  const before = await room.hostState()
  await room.echo(room.world, port)
  await room.host.run('ip', 'route', 'add', 'default', 'via', outside.world)

  const web1 = await world.bootTiny('web1', { nics })
  const web2 = await world.bootTiny('web2', { nics: said, cpu: { count: 2 } })
  const [address1, address2] = [await untilLeased(web1), await untilLeased(web2)]

  const [nic] = (await web2.show()).status.nics ?? []
  assert.deepEqual([nic?.queues, nic?.mtu, nic?.offloads], [1, 1400, 'off'])
  const link = async (name = 'none') => await room.host.run('ip', 'link', 'show', 'dev', name)
  assert.match(await link(nic?.tap), new RegExp(` mtu 1400 .* master ${nic?.bridge} `))
  assert.match(await link(nic?.bridge), / mtu 1500 /)
  // Of the features of virtio-net, the first is that the host makes checksums.
  const eyes = await web2.shell('cd /sys/class/net/eth0; cat mtu; ls queues; cut -c 1 device/features')
  assert.equal(eyes.replaceAll(/\s+/g, ' '), '1400 rx-0 tx-0 0')
  await world.assertCleanAudit()
  assert.ok(await room.host.reaches(address1), 'The host reaches a guest.')
  await eventually(async () => ((await web1.run('ping -c 1 -W 3 web2')).exitCode === 0 ? true : undefined), {
    withinMs: leaseMs,
    what: 'a guest reaches the other by its name',
  })
  assert.match(await web2.shell('nslookup web1.lan.internal'), new RegExp(address1.replaceAll('.', '\\.')))
  await web1.shell('ip address add 10.9.0.200/24 dev eth0; ping -c 1 -W 3 -I 10.9.0.200 10.9.0.1')
  await eventually(async () => (await addressesOf(web1)).includes('10.9.0.200') || undefined, {
    withinMs: leaseMs,
    what: 'an address that nobody leased is shown as the host knows it by ARP',
  })
  await world.daemon.kill9()
  assert.ok(await room.host.reaches(address2), 'The host reaches a guest while the daemon is dead.')
  await world.startDaemon()
  const seen = async () =>
    (await web1.run(`nc ${outside.world} ${port}`)).stdout === outside.host ? true : undefined
  await eventually(seen, { withinMs: leaseMs, what: 'the guest reaches the world as the host' })

  await room.host.run('ip', 'link', 'delete', nic?.bridge ?? '')
  const isBack = async () => ((await room.host.reaches(address1)) ? true : undefined)
  await eventually(isBack, { withinMs: leaseMs, what: 'the guest is on the bridge that was made again' })

  await assert.rejects(world.client.call(endpoints.stopNetwork, { params }), { code: 'in-use' })
  await web1.powerOff()
  process.kill(await web2.pid(), 'SIGKILL')
  await web2.untilState('crashed')
  await room.host.run('ip', 'route', 'delete', 'default')
  assert.equal(withoutCarrier(await room.hostState()), withoutCarrier(before), 'No tap is left.')
  await world.client.call(endpoints.stopNetwork, { params })
  assert.equal(await room.hostState(), bare)
  await assert.rejects(web1.start(), { code: 'network-inactive' })
  await assert.rejects(world.client.call(endpoints.deleteNetwork, { params }), { code: 'in-use' })
})

/** Whether a bridge has had a port shows in its flags and state. */
function withoutCarrier(state: string): string {
  return state.replaceAll(/ (UP|DOWN|UNKNOWN) +/g, ' ').replaceAll(/<[^>]*>/g, '')
}

async function untilLeased(vm: VmHandle): Promise<string> {
  return await eventually(async () => (await addressesOf(vm))[0], {
    withinMs: leaseMs,
    what: `the VM ${vm.name} shows the address of its guest`,
  })
}

async function addressesOf(vm: VmHandle): Promise<readonly string[]> {
  return (await vm.show()).status.nics?.[0]?.addresses ?? []
}
