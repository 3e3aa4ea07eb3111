/**
 * Guests that are held to what they are, and kept from each other: by packets from inside of them, while that changes and while the daemon
 * is dead. Each kind of frame that is dropped is in guards.host.test.ts.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { openNetworkRoom } from '../machine/network-room.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const withinMs = 40_000
const feigned = '10.9.0.200'
const peerMac = '52:54:00:00:00:09'

test('a guest sends as nobody else, and isolated ones have nothing of each other', { skip }, async (t) => {
  await using room = await openNetworkRoom()
  await using world = await openWorld(t, { network: room.host.path })
  const { bridge } = await world.client.call(endpoints.createNetwork, {
    body: {
      name: 'lan',
      ipv4: { subnet: '10.9.0.0/24' },
      reservations: [{ mac: peerMac, address: '10.9.0.9' }],
    },
  })
  const quiet = await room.host.run('nft', 'list', 'ruleset')
  const peer = await room.addGuest(bridge, { mac: peerMac })
  await room.lease(peer, 'peer')
  const guards = { name: 'net0', network: 'lan', antiSpoof: true, isolated: true }

  const [web1, web2] = [
    await world.bootTiny('web1', { nics: [guards] }),
    await world.bootTiny('web2', { nics: [guards] }),
  ]

  const [address1, address2] = [await addressOf(web1), await addressOf(web2)]
  for (const [vm, address] of [
    [web1, address1],
    [web2, address2],
  ] as const)
    await eventually(
      async () => ((await vm.shell('ip address')).includes(`${address}/24`) ? true : undefined),
      {
        withinMs,
        what: 'the guest has the address that was chosen for its NIC',
      },
    )
  assert.ok(await pings(web1, '10.9.0.1'), 'The host.')
  assert.ok(await pings(web1, '10.9.0.9'), 'Who is not isolated.')
  assert.ok(await room.host.reaches(address1), 'From the host.')
  assert.ok(await isSilent(web1, address2), 'Not another isolated one.')
  await web1.shell(`ip route add ${address2}/32 via 10.9.0.1`)
  await countsTheWayByTheHost(web1, address2)

  await web1.shell(`ip address add ${feigned}/24 dev eth0`)
  assert.ok(await isSilent(web1, '10.9.0.9', feigned), 'Not with an address of its own choice.')
  const drops = async () => (await web1.show()).status.nics?.[0]?.ruleDrops?.guard || undefined
  const counted = await eventually(drops, { withinMs, what: 'what its guard dropped is shown' })
  assert.match(
    (await world.cli('vm', 'show', 'web1')).stdout,
    /, packets dropped: \d+ by its guard, \d+ on the way to other isolated NICs$/m,
  )
  await world.daemon.kill9()
  await world.startDaemon()
  const isMore = async () => (((await drops()) ?? 0) >= counted ? true : undefined)
  await eventually(isMore, { withinMs, what: 'rules that were made anew go on from what was counted' })
  assert.ok(await isSilent(web1, '10.9.0.9', feigned), 'Nor after the daemon was away.')
  assert.ok(await pings(web1, '10.9.0.9', address1))

  const set = (words: string) => world.cli('vm', 'nic', 'set', 'web1', 'net0', words)
  assert.equal((await set('antiSpoof=false,isolated=false')).code, 0)
  assert.ok(await pings(web1, '10.9.0.9', feigned), 'What is not guarded any more passes, at once.')
  await web1.shell(`ip route delete ${address2}/32`)
  assert.ok(await pings(web1, address2))
  assert.equal((await set('antiSpoof,isolated')).code, 0)
  assert.ok(await isSilent(web1, '10.9.0.9', feigned))
  await web1.shell('ip link set eth0 down; ip link set eth0 address 52:54:00:00:00:77; ip link set eth0 up')
  assert.ok(await isSilent(web1, '10.9.0.1'), 'Nor with another MAC address.')

  await web1.powerOff()
  await web2.powerOff()
  const isQuiet = async () => ((await room.host.run('nft', 'list', 'ruleset')) === quiet ? true : undefined)
  await eventually(isQuiet, { withinMs, what: 'the rules of VMs that are off are gone' })
})

/** Isolation keeps a guest from another, and says how often, also by way of the host. */
async function countsTheWayByTheHost(vm: VmHandle, address: string): Promise<void> {
  const kept = async () => (await vm.show()).status.nics?.[0]?.ruleDrops?.isolation || undefined
  const before = await eventually(kept, { withinMs, what: 'what isolation keeps from the other is shown' })
  assert.ok(await isSilent(vm, address), 'Nor by way of the host.')
  const isCounted = async () => (((await kept()) ?? 0) > before ? true : undefined)
  await eventually(isCounted, { withinMs, what: 'that is counted too' })
}

async function addressOf(vm: VmHandle): Promise<string> {
  const { address } = (await vm.show()).spec.nics[0] ?? {}
  assert.ok(address, 'A guarded NIC has an address for good.')
  return address
}

async function pings(vm: VmHandle, address: string, from?: string): Promise<boolean> {
  return (await vm.run(`ping -c 1 -W 5 ${sourceOf(from)}${address}`)).exitCode === 0
}

/** Whether nobody answers at once. */
async function isSilent(vm: VmHandle, address: string, from?: string): Promise<boolean> {
  return (await vm.run(`ping -c 1 -W 1 ${sourceOf(from)}${address}`)).exitCode !== 0
}

function sourceOf(from: string | undefined): string {
  return from === undefined ? '' : `-I ${from} `
}
