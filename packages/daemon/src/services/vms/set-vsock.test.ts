/** vsock, which comes with an address of its own, and not at all where the host has none. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import {
  ended,
  openRunning,
  params,
  planned,
  setDevices,
  there,
  waiting,
} from '../../testing/small-devices.ts'

test('vsock comes to a guest that runs, keeps its address and its place, and goes', async () => {
  await using world = await openRunning({})

  const plan = await planned(world, { vsock: true })
  const came = await ended(world, await setDevices(world, { vsock: true }))
  const device = world.process('web1').devices.plugged.get('vsock')
  const [live, { status }] = [there(world), await world.vm('web1')]
  const { id } = await world.call('saveVm', { params })
  await world.call('getJob', { params: { id }, query: { wait: 5 } })
  await world.start('web1')
  const restored = world.process('web1').devices.plugged.get('vsock')
  const where = there(world)
  const went = await ended(world, await setDevices(world, {}))

  assert.deepEqual(plan, [['devices.vsock', 'live', 'it is plugged while the guest runs']])
  assert.equal(came.outcome, 'Device vsock is plugged.')
  assert.match(live.join(), /^vsock on port\d$/)
  assert.ok(Number(device?.['guest-cid']) >= 3)
  assert.equal(device?.['guest-cid'], status.vsockCid)
  assert.deepEqual([where, restored?.['guest-cid']], [live, status.vsockCid])
  assert.equal(went.outcome, 'Device vsock is gone.')
  assert.deepEqual([there(world), await waiting(world)], [[], []])
})

test('a guest that keeps its vsock keeps the address, which no other VM is given', async () => {
  await using world = await openRunning({})
  await ended(world, await setDevices(world, { vsock: true }))
  const { vsockCid } = (await world.vm('web1')).status
  world.process('web1').devices.release = 'refusing'
  await ended(world, await setDevices(world, {}))
  const [uuid] = (await world.vm('web1')).uuid.split('-')
  const { clock } = world.machine
  const ids = [`${uuid}-0000-7000-8000-000000000001`] // Leads to the same address.
  clock.uuid = () => ids.pop() ?? randomUUID()

  await world.createVm('web2')

  assert.deepEqual(await waiting(world), ['devices.vsock'])
  assert.equal((await world.vm('web2')).status.vsockCid, Number(vsockCid) + 1)
  await ended(world, await setDevices(world, { vsock: true }))
  assert.deepEqual([(await world.vm('web1')).status.vsockCid, await waiting(world)], [vsockCid, []])
})

test('what the guest booted with stays until the next boot, and the plan says so', async () => {
  await using world = await openRunning({ vsock: true })

  assert.deepEqual(await planned(world, {}), [
    [
      'devices.vsock',
      'next-boot',
      'it is on the root bus since the guest booted, and nothing is unplugged there',
    ],
  ])
})

test('on a host without vsock nothing comes, and a daemon that is started anew misses none', async () => {
  await using world = await openRunning({})
  world.machine.hasVsock = false

  const plan = await planned(world, { vsock: true })
  const { job } = (await setDevices(world, { vsock: true })).status
  const { restartReasons } = (await world.vm('web1')).status
  await world.call('powerOffVm', { params })
  await world.start('web1')
  await using following = await world.killAndFollow()
  const left = await waiting(following)
  const went = await ended(following, await setDevices(following, {}))

  const reason = 'this host has no /dev/vhost-vsock, and the first boot that finds one brings it'
  assert.deepEqual(plan, [['devices.vsock', 'next-boot', reason]])
  assert.deepEqual([job, restartReasons], [undefined, { 'devices.vsock': reason }])
  assert.deepEqual([left, there(following)], [[], []])
  assert.equal(went.outcome, 'Device vsock is gone.')
})
