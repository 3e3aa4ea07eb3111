/** The USB controller, which comes with the first device on it and goes with the last, and what is on it. */
import assert from 'node:assert/strict'
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

test('a USB tablet brings the controller, and the last on it takes it along when the guest lets go', async () => {
  await using world = await openRunning({})

  const plan = await planned(world, { pointer: 'usb' })
  const came = await ended(world, await setDevices(world, { pointer: 'usb' }))
  const second = await planned(world, { pointer: 'usb', keyboard: 'usb' })
  await ended(world, await setDevices(world, { pointer: 'usb', keyboard: 'usb' }))
  const had = there(world)
  const wentOne = await ended(world, await setDevices(world, { keyboard: 'usb' }))
  const last = await planned(world, {})
  const went = await ended(world, await setDevices(world, {}))

  assert.deepEqual(plan, [
    ['devices.pointer', 'live', 'it is plugged into a USB controller that is plugged first'],
  ])
  assert.equal(came.outcome, 'Device usb is plugged. Device pointer is plugged.')
  assert.deepEqual(second, [
    ['devices.keyboard', 'live', 'it is plugged into a USB port while the guest runs'],
  ])
  assert.deepEqual(had.slice(0, 2), ['keyboard on usb.0', 'pointer on usb.0'])
  assert.match(had[2] ?? '', /^usb on port\d$/)
  assert.equal(wentOne.outcome, 'Device pointer is gone.')
  assert.match(last.join(), /pulled out of its USB port .* which then is asked to let go of the controller$/)
  assert.equal(went.outcome, 'Device keyboard is gone. Device usb is gone.')
  assert.deepEqual([there(world), await waiting(world)], [[], []])
})

test('a controller that came is in saved memory with what is on it, keeps its place, and stays as long as it is asked for', async () => {
  await using world = await openRunning({})
  await ended(world, await setDevices(world, { usb: true, pointer: 'usb' }))
  const live = there(world)
  const { id } = await world.call('saveVm', { params })
  await world.call('getJob', { params: { id }, query: { wait: 5 } })
  await world.start('web1')
  const restored = there(world)
  const went = await ended(world, await setDevices(world, { usb: true }))

  assert.deepEqual(restored, live)
  assert.equal(went.outcome, 'Device pointer is gone.')
  assert.deepEqual(there(world), live.slice(1))
  assert.deepEqual(await planned(world, {}), [
    ['devices.usb', 'live', 'the guest is asked to let go of it while it runs'],
  ])
})

test('a USB keyboard is pulled out of a guest that stands still, which keeps the controller until it is asked again', async () => {
  await using world = await openRunning({ pointer: 'usb' })

  await ended(world, await setDevices(world, { pointer: 'usb', keyboard: 'usb' }))
  await world.call('pauseVm', { params })
  const went = await ended(world, await setDevices(world, {}))
  const [had, left] = [there(world), await waiting(world)]
  const back = await planned(world, { pointer: 'usb' })
  await world.call('resumeVm', { params })
  const again = await ended(world, await setDevices(world, {}))

  assert.match(
    went.error?.detail ?? '',
    /keeps device usb: it stands still, and is asked again when it goes on/,
  )
  assert.deepEqual([had, left], [['usb on port0'], ['devices.usb']])
  assert.deepEqual(back, [['devices.pointer', 'live', 'it is plugged into a USB port while the guest runs']])
  assert.equal(again.outcome, 'Device usb is gone.')
  assert.deepEqual([there(world), await waiting(world)], [[], []])
})

test('a controller that the guest ejects takes its devices along, and they come again when they are asked for again', async () => {
  await using world = await openRunning({ pointer: 'usb' })
  world.process('web1').devices.answer('usb')
  const more = async () => (await planned(world, { pointer: 'usb', keyboard: 'usb' })).join()
  await world.daemon.supervisor.find('web1').reconcile()
  const [left, reason] = [await waiting(world), await more()]

  const again = await ended(world, await setDevices(world, { pointer: 'usb' }))

  assert.deepEqual(left, ['devices.pointer'])
  assert.match(reason, /it needs a USB controller first, and it has not come yet/)
  assert.equal(again.outcome, 'Device usb is plugged. Device pointer is plugged.')
  assert.deepEqual(await waiting(world), [])
})

test('the controller stays while viewers have USB devices on it', async () => {
  const spice = { spice: true, pointer: 'usb' } as const
  await using world = await openRunning(spice)
  await setDevices(world, { pointer: 'usb' })

  const plan = await planned(world, {})
  const went = await ended(world, await setDevices(world, {}))

  assert.deepEqual(plan, [
    ['devices.pointer', 'live', 'it is pulled out of its USB port while the guest runs'],
  ])
  assert.equal(went.outcome, 'Device pointer is gone.')
  assert.deepEqual(there(world), ['usb on port0'])
})
