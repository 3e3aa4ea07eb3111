/** Networks of mode sriov on the simulated host: who gets which virtual function. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type NewNetworkInput, newNetwork, sriovSpec } from '@kvasir/contract'
import { createFast, createFastVm, openSriovHost, vfOf, vfsOf } from '../../testing/sriov-host.ts'

const fast = { params: { network: 'fast' } }

test('each VM gets a virtual function of its own, of the device that has most of them free', async () => {
  await using world = await openSriovHost(2)
  await createFast(world)
  for (const name of ['web1', 'web2', 'web3']) await createFastVm(world, name)

  for (const name of ['web1', 'web2', 'web3']) assert.equal((await world.start(name)).error, undefined)

  assert.deepEqual(await vfsOf(world, 'web1'), [
    { nic: 'net0', network: 'fast', address: vfOf('eth0', 0), pf: 'eth0' },
  ])
  assert.deepEqual((await vfsOf(world, 'web2'))?.[0]?.pf, 'eth1')
  assert.deepEqual((await vfsOf(world, 'web3'))?.[0]?.address, vfOf('eth0', 1))
})

test('VMs that start at once get different ones, and one that finds none is told who has them', async () => {
  await using world = await openSriovHost(1)
  await createFast(world)
  for (const name of ['web1', 'web2', 'web3']) await createFastVm(world, name)

  const ends = await Promise.all(['web1', 'web2', 'web3'].map((name) => world.start(name)))

  const given = [await vfsOf(world, 'web1'), await vfsOf(world, 'web2'), await vfsOf(world, 'web3')]
  const addresses = given.flatMap((vfs) => vfs ?? []).map(({ address }) => address)
  assert.deepEqual(addresses.toSorted(), [vfOf('eth0', 0), vfOf('eth1', 0)])
  const refused = ends.flatMap(({ error }) => error?.detail ?? [])
  assert.equal(refused.length, 1)
  assert.match(
    refused[0] ?? '',
    /No virtual function of network fast is free for NIC net0 of VM web\d \(0000:02:10.0: VM web\d has it; 0000:03:10.0: VM web\d has it\)/,
  )
})

test('a network of it is refused where its device is none, has too few, or where the IOMMU is off', async () => {
  await using world = await openSriovHost(0)
  const refusedFor = (sriov: NonNullable<NewNetworkInput['sriov']>, message: RegExp) =>
    assert.rejects(createFast(world, { sriov }), { code: 'network-refused', message })

  await refusedFor(
    { pfs: ['eth9'] },
    /the host has no link eth9; those with SR-IOV are eth0 \(up to 7\), eth1/,
  )
  await refusedFor({ pfs: ['wlan0'] }, /the device of the link wlan0 has no SR-IOV/)
  await refusedFor(
    { pfs: ['eth0'], vfs: 8 },
    /eth0 can have 7 virtual functions at most, and 8 are asked for/,
  )
  await assert.rejects(createFast(world, { sriov: undefined }), /needs the name of a physical function/)
  assert.throws(
    () => newNetwork.parse({ name: 'fast', mode: 'sriov', sriov: { pfs: ['eth0'], vlan: 4096 } }),
    /not the number of a VLAN/,
  )
  world.machine.devices = { ...world.machine.devices, iommu: { ...world.machine.devices.iommu, groups: [] } }
  await refusedFor({ pfs: ['eth0'] }, /its guests get devices of the host, and .*IOMMU/)
})

test('what a virtual function cannot do is refused', async () => {
  await using world = await openSriovHost(2)
  await createFast(world)
  await assert.rejects(
    createFastVm(world, 'web1', { antiSpoof: true }),
    /whose packets the host never sees; spoofCheck of the network/,
  )
  await assert.rejects(
    createFastVm(world, 'web1', { limits: { receive: '1MiB' } }),
    /limits what is sent alone/,
  )
  await createFastVm(world, 'web1', { limits: { send: '1MiB' } })
  await world.start('web1')

  const saved = await world.call('saveVm', { params: { name: 'web1' }, query: { wait: 1000 } })

  assert.match(saved.error?.detail ?? '', /has devices of the host/)
})

test('its number changes only while no VM has any, and what they are set to at any time', async () => {
  await using world = await openSriovHost(2)
  await createFast(world)
  await createFastVm(world, 'web1')
  await world.start('web1')
  const change = (sriov: NonNullable<NewNetworkInput['sriov']>) =>
    world.call('changeNetwork', {
      ...fast,
      query: { restart: true },
      body: { sriov: sriovSpec.parse(sriov) },
    })

  await assert.rejects(change({ pfs: ['eth0', 'eth1'], vlan: 42, vfs: 1 }), { code: 'in-use' })
  await change({ pfs: ['eth0', 'eth1'], vlan: 43 })

  const [there] = [...world.machine.networks.values()]
  assert.equal(there?.network.sriov?.vlan, 43)
  assert.equal(there?.wires[0]?.vf?.address, vfOf('eth0', 0))
})
