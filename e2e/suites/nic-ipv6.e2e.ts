/** The address of IPv6 that a NIC names: what DHCPv6 gives it, while that changes, and what its guard lets it send from. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { openNetworkRoom } from '../machine/network-room.ts'
import { openWorld } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const withinMs = 40_000
const mac = '52:54:00:00:00:01'
const net = 'fd12:3456:789a:1'

test('DHCPv6 gives a NIC the address that it names, another one from then on, and to a guest that is held to it no other', {
  skip,
}, async (t) => {
  await using room = await openNetworkRoom()
  await using world = await openWorld(t, { network: room.host.path })
  const { bridge } = await world.client.call(endpoints.createNetwork, {
    body: { name: 'lan', ipv4: { subnet: '10.9.0.0/24' }, ipv6: { subnet: `${net}::/64` } },
  })
  const web1 = await world.createTiny('web1', { nics: [{ name: 'net0', network: 'lan', mac }] })
  const set = async (words: string) => (await world.cli('vm', 'nic', 'set', 'web1', 'net0', words)).code
  const stand = await room.addGuest(bridge, { mac })
  const isGiven = (last: string) =>
    eventually(
      async () => ((await room.lease6(stand, mac).catch(() => '')) === `${net}::${last}` ? true : undefined),
      { withinMs, what: `DHCPv6 gives ${last}` },
    )

  assert.equal(await set(`ipv6=${net}:0:0:0:A`), 0)
  await isGiven('a')
  assert.equal(await set(`ipv6=${net}::b,antiSpoof`), 0)
  await isGiven('b')
  await stand.run('ip', 'link', 'delete', 'eth0')
  await web1.start()
  await web1.waitForLogin()

  const { stdout } = await world.cli('vm', 'show', 'web1')
  assert.match(stdout, new RegExp(`^NICs +net0  lan, ${mac}, 10\\.9\\.0\\.\\d+, ${net}::b, `, 'm'))
  await web1.shell('echo 0 >/proc/sys/net/ipv6/conf/eth0/dad_transmits') // It uses an address at once.
  for (const last of ['b', 'c']) await web1.shell(`ip address add ${net}::${last}/64 dev eth0`)
  const pings = async (last: string) =>
    (await web1.run(`ping -c 1 -W 2 -I ${net}::${last} ${net}::1`)).exitCode === 0
  const isHeard = async () => ((await pings('b')) ? true : undefined)
  await eventually(isHeard, { withinMs, what: 'the guest sends from the address of its NIC' })
  assert.ok(!(await pings('c')), 'And from no other.')
  assert.equal(await set(`ipv6=${net}::c`), 0)
  assert.deepEqual([await pings('c'), await pings('b')], [true, false], 'It is held to the one of now.')
  assert.equal(await set('ipv6=none'), 0)
  assert.deepEqual([await pings('c'), await pings('b')], [false, false], 'It names none.')
  await web1.powerOff()
})
