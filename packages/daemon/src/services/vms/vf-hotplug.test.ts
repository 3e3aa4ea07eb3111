/** NICs on networks of virtual functions that come to a guest that runs and leave it, whatever happens in between. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newNetwork, type VmSpecInput, vmSpec } from '@kvasir/contract'
import { type FailpointName, failpointNames } from '../../ports/failpoints.ts'
import { ended, lent, planned, setSpec, startGuest } from '../../testing/running-guest.ts'
import { eventually, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'
import { createFast, createFastVm, openSriovHost, takeVfs, vfOf, vfsOf } from '../../testing/sriov-host.ts'

type Nics = NonNullable<VmSpecInput['nics']>

const params = { name: 'web1' }
const net0 = { name: 'net0', network: 'fast', mac: '52:54:00:00:00:42', limits: { send: '1MiB' } }
const first = vfOf('eth0', 0)

/** A VM that runs without a NIC. */
async function openRunning(
  vfsEach: number,
  options: Parameters<typeof openSriovHost>[1] = {},
): Promise<SimulatedDaemon> {
  const world = await openSriovHost(vfsEach, { hurry: 20, ...options })
  await createFast(world)
  await startGuest(world, {})
  return world
}

const setNics = (world: SimulatedDaemon, nics: Nics) => setSpec(world, { nics })

const has = (world: SimulatedDaemon) => [...world.process('web1').nics.plugged.keys()]

test('a NIC of a running guest gets a virtual function with its settings, and gives it back', async () => {
  await using world = await openRunning(1)

  const came = await ended(world, await setNics(world, [net0]))
  const plan = world.process('web1').hostDevices.handed.get('net0')
  const [{ status }, there] = [await world.vm('web1'), lent(world)]
  const went = await ended(world, await setNics(world, []))

  assert.deepEqual(
    [came.outcome, went.outcome],
    [`NIC net0 is ${first} of eth0, and plugged.`, 'NIC net0 is gone.'],
  )
  assert.deepEqual(plan?.vf?.settings, {
    mac: net0.mac,
    vlan: 42,
    vlanPriority: 0,
    spoofCheck: true,
    trust: false,
    minRateMbits: 0,
    maxRateMbits: 8,
    link: 'auto',
  })
  assert.deepEqual([plan?.device['id'], plan?.device['bus']], ['nic-net0', 'port0'])
  assert.ok((plan?.lockableBytes ?? 0) > vmSpec.parse({}).memory.size, 'all memory may be locked')
  assert.deepEqual([status.vfs?.map(({ address }) => address), there], [[first], [first]])
  assert.deepEqual([status.restartNeeded, has(world), lent(world)], [[], [], []])
  assert.equal(await vfsOf(world, 'web1'), undefined)
})

test('the plan says what it costs; a NIC does not become another device while its guest runs', async () => {
  await using world = await openRunning(1)
  await world.call('createNetwork', { body: newNetwork.parse({ name: 'lan' }) })
  const plan = await planned(world, { nics: [net0] })
  await ended(world, await setNics(world, [net0]))

  assert.deepEqual(
    plan.map(([field, effect]) => [field, effect]),
    [['nics.net0', 'live']],
  )
  assert.match(String(plan[0]?.[2]), /handed over while the guest runs, whose memory is all locked then/)
  assert.deepEqual(await planned(world, { nics: [{ ...net0, network: 'lan' }] }), [
    [
      'nics.net0.network',
      'next-boot',
      'a NIC that is a virtual function, or is to be one, is another device',
    ],
  ])
})

test('a NIC for which no virtual function is free is refused at once, and two VMs never get one', async () => {
  await using world = await openRunning(1)
  for (const name of ['web2', 'web3']) await createFastVm(world, name)
  await world.start('web2')

  const [plugged, started] = await Promise.all([
    setNics(world, [net0]).then((vm) => ended(world, vm)),
    world.start('web3'),
  ])

  assert.equal([plugged, started].filter(({ state }) => state === 'succeeded').length, 1)
  const name = plugged.state === 'succeeded' ? 'web1' : 'web3'
  const given = [await vfsOf(world, name), await vfsOf(world, 'web2')].map((vfs) => vfs?.[0]?.address)
  assert.deepEqual(given.flatMap((one) => one ?? []).toSorted(), [first, vfOf('eth1', 0)])
  const more = setNics(world, [net0, { name: 'net1', network: 'fast' }])
  await assert.rejects(more, {
    code: 'in-use',
    message: /is free for NIC net. of VM web1 .*so the NIC is not plugged/,
  })
})

const points = failpointNames.filter(
  (name) => name.startsWith('vm.nic-vfs.') || /^vm\.nics\..*(plug|ask|release|remove)$/.test(name),
)

for (const point of points)
  test(`a daemon that dies at ${point} leaves a virtual function that the next one brings or takes back`, async () => {
    const reached = new Set<FailpointName>()
    let deadly: string | undefined
    const { promise: died, resolve: die } = Promise.withResolvers<void>()
    await using world = await openRunning(2, {
      async failpoint(name) {
        reached.add(name)
        if (name !== deadly) return
        die()
        await new Promise(() => {}) // The daemon is dead.
      },
    })
    const leaves = /ask|release|remove/.test(point)
    if (leaves) await ended(world, await setNics(world, [net0]))
    deadly = point

    await setNics(world, leaves ? [] : [net0])
    await died
    await using next = await world.killAndFollow()

    assert.ok(reached.has(point))
    const wanted = leaves ? [] : [first]
    await eventually(async () => {
      const vfs = (await vfsOf(next, 'web1')) ?? []
      return vfs.map(({ address }) => address).join() === wanted.join()
    }, 'the row says what is')
    await eventually(() => lent(next).join() === wanted.join(), 'the host has what the guest has not')
    await eventually(() => has(next).length === wanted.length, 'the guest has what was wanted')
  })

test('one that does not come is the host’s again; one that the guest lets go of by itself goes back, and comes when it is asked for again', async () => {
  let isFailing = true
  await using world = await openRunning(1, {
    async failpoint(name) {
      if (isFailing && name === 'vm.nics.before-plug') throw new Error('The step fails.')
    },
  })

  const job = await ended(world, await setNics(world, [net0]))
  const missing = await world.vm('web1')
  isFailing = false
  await createFastVm(world, 'web2')
  await world.start('web2')
  const again = await ended(world, await setNics(world, [net0]))
  world.process('web1').nics.answer('net0')
  await eventually(async () => (await vfsOf(world, 'web1')) === undefined, 'it is noticed')

  assert.equal(job.state, 'failed')
  assert.deepEqual([missing.status.vfs, missing.status.restartNeeded], [undefined, ['nics.net0']])
  assert.equal((await vfsOf(world, 'web2'))?.[0]?.address, first)
  assert.equal(again.outcome, `NIC net0 is ${vfOf('eth1', 0)} of eth1, and plugged.`)
  assert.deepEqual(lent(world), [])
  assert.deepEqual((await world.vm('web1')).status.restartNeeded, ['nics.net0'])
  const back = await ended(world, await setNics(world, [net0]))
  assert.equal(back.state, 'succeeded')
})

async function seen(world: SimulatedDaemon) {
  return await world.call('getNetwork', { params: { network: 'fast' } })
}

test('a guest that lets go of a virtual function that somebody takes from the host is told of, until it has another', async () => {
  await using world = await openRunning(1)
  await ended(world, await setNics(world, [net0]))

  takeVfs(world, 'eth0')
  world.process('web1').nics.answer('net0')
  await eventually(async () => (await world.vm('web1')).status.lostDevices !== undefined, 'it is told')

  const { status } = await world.vm('web1')
  assert.deepEqual([status.state, status.vfs, lent(world)], ['running', undefined, []])
  const [lost] = status.lostDevices ?? []
  assert.equal(lost?.device, 'nics.net0')
  assert.match(lost?.reason ?? '', /taken from the host, .* and applying its spec again plugs one now\.$/)
  const events = await world.call('listEvents', { query: { after: 0, limit: 1000 } })
  assert.equal(events.filter(({ data }) => data['device'] === 'lost' && data['nic'] === 'net0').length, 1)
  await eventually(
    async () =>
      (await seen(world)).findings.some(({ detail }) => detail === 'eth0 has no virtual functions.'),
    'the network tells of the device',
  )
  const back = await ended(world, await setNics(world, [net0]))
  assert.equal(back.outcome, `NIC net0 is ${vfOf('eth1', 0)} of eth1, and plugged.`)
  assert.equal((await world.vm('web1')).status.lostDevices, undefined)
})

test('a guest that keeps one that is gone runs on; its network says whose it was, and the next start brings another', async () => {
  await using world = await openRunning(1)
  await ended(world, await setNics(world, [net0]))

  takeVfs(world, 'eth0')
  await eventually(async () => (await seen(world)).state === 'failed', 'the network is not as it should be')

  const { reason, findings } = await seen(world)
  assert.match(
    reason,
    /^The virtual function 0000:02:10\.0, which NIC net0 of VM web1 is, is gone: somebody has taken it from the host/,
  )
  assert.deepEqual(
    findings.map(({ detail }) => detail.slice(0, 30)),
    ['eth0 has no virtual functions.', 'The virtual function 0000:02:1'],
  )
  assert.equal((await world.vm('web1')).status.state, 'running')
  await world.call('powerOffVm', { params })
  assert.equal((await world.start('web1')).error, undefined)
  assert.equal((await vfsOf(world, 'web1'))?.[0]?.address, vfOf('eth1', 0))
})
