/** Entropy devices, watchdogs, pointers and keyboards that come and go while the guest runs, and a daemon that dies at every step of it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type FailpointName, failpointNames } from '../../ports/failpoints.ts'
import { eventually, openSimulatedDaemon } from '../../testing/simulated-daemon.ts'
import {
  bare,
  type Devices,
  ended,
  openRunning,
  params,
  planned,
  setDevices,
  there,
  waiting,
} from '../../testing/small-devices.ts'

test('entropy, a watchdog, a keyboard and a tablet come to a guest that runs, behind ports that it has, and go', async () => {
  await using world = await openRunning({}, { machine: { spareSlots: 4 } })
  const spec = { machine: { spareSlots: 4 } }
  const all = {
    rng: true,
    rngBytesPerSecond: 4096,
    watchdog: true,
    keyboard: 'virtio',
    pointer: 'virtio',
  } as const

  const plan = await planned(world, all, spec)
  const came = await ended(world, await setDevices(world, all, spec))
  const had = there(world)
  const { device } = { device: world.process('web1').devices.plugged.get('rng') }
  const went = await ended(world, await setDevices(world, {}, spec))

  assert.deepEqual(
    [...new Set(plan.map(([, effect, reason]) => [effect, reason].join(': ')))],
    ['live: it is plugged while the guest runs'],
  )
  assert.equal(came.kind, 'vm.set-devices')
  assert.equal(
    came.outcome,
    'Device rng is plugged. Device watchdog is plugged. Device pointer is plugged. Device keyboard is plugged.',
  )
  assert.equal(new Set(had.map((one) => one.split(' on ')[1])).size, 4)
  assert.ok(
    had.every((one) => / on port\d$/.test(one)),
    had.join(),
  )
  assert.equal(device?.['max-bytes'], 4096)
  assert.match(went.outcome ?? '', /Device keyboard is gone\..*Device rng is gone\./)
  assert.deepEqual([there(world), await waiting(world)], [[], []])
  assert.equal(world.process('web1').devices.objects.size, 0)
})

test('a balloon comes to a guest that runs and takes what the spec says, and a guest that loses it has all again', async () => {
  await using world = await openRunning({ balloon: false }, { memory: { size: '1GiB' } })
  const spec = { memory: { size: '1GiB', target: '512MiB' } } as const
  const bytes = () => world.process('web1').balloonBytes

  const plan = await planned(world, { balloon: true }, spec)
  const came = await ended(world, await setDevices(world, { balloon: true }, spec))
  await eventually(async () => bytes() === 512 * 2 ** 20, 'it takes memory')
  const [had, left] = [there(world), await waiting(world)]
  await using next = await world.killAndFollow()
  const stays = await waiting(next)
  await assert.rejects(setDevices(next, { balloon: false }, spec), { code: 'bad-request' })
  const went = await ended(next, await setDevices(next, { balloon: false }, { memory: { size: '1GiB' } }))

  assert.deepEqual(plan, [
    ['devices.balloon', 'live', 'it is plugged while the guest runs'],
    ['memory.target', 'live', 'the balloon gives and takes it while the guest runs'],
  ])
  assert.equal(came.outcome, 'Device balloon is plugged.')
  assert.match(had.join(), /^balloon on port\d$/)
  assert.deepEqual([left, stays], [[], []])
  assert.equal(went.outcome, 'Device balloon is gone.')
  assert.deepEqual([there(next), await waiting(next), bytes()], [[], [], 2 ** 30])
})

test('a balloon gives no pages back of memory that was taken at the boot, whatever the next one takes', async () => {
  await using world = await openRunning({ balloon: false }, { memory: { preallocate: true } })

  await ended(world, await setDevices(world, { balloon: true }, { memory: { preallocate: false } }))

  assert.equal(world.process('web1').devices.plugged.get('balloon')?.['free-page-reporting'], false)
  assert.deepEqual(await waiting(world), ['memory.preallocate'])
})

test('what came keeps its place at the next boot, and in saved memory', async () => {
  await using world = await openRunning({})
  await ended(world, await setDevices(world, { rng: true }))
  const live = there(world)
  const { id } = await world.call('saveVm', { params })
  const saved = await world.call('getJob', { params: { id }, query: { wait: 5 } })
  await world.start('web1')
  const restored = there(world)
  await world.call('powerOffVm', { params })
  await world.start('web1')

  assert.match(live.join(), /^rng on port\d$/)
  assert.equal(saved.state, 'succeeded', saved.error?.detail ?? '')
  assert.deepEqual([restored, there(world)], [live, live])
  assert.deepEqual(
    (await planned(world, {})).map(([, effect]) => effect),
    ['live'],
  )
})

test('the plan says what waits for a boot, and why', async () => {
  const machine = { spareSlots: 0 }
  await using world = await openRunning({ rng: true, pointer: 'virtio' }, { machine })
  const plan = async (devices: Devices) =>
    (await planned(world, devices, { machine })).map((one) => one.join(': '))
  const has = { rng: true, pointer: 'virtio' } as const

  assert.deepEqual(await plan({ ...has, rng: false }), [
    'devices.rng: next-boot: it is on the root bus since the guest booted, and nothing is unplugged there',
  ])
  assert.deepEqual(await plan({ ...has, rngBytesPerSecond: 4096 }), [
    'devices.rngBytesPerSecond: next-boot: the guest has it as it came, and QEMU changes no setting of it',
  ])
  assert.deepEqual(await plan({ ...has, keyboard: 'usb' }), [
    'devices.keyboard: next-boot: it needs a USB controller first, and it has 0 slots left to plug a device into; the next boot makes more (machine.spareSlots)',
  ])
  assert.deepEqual(await plan({ ...has, keyboard: 'virtio' }), [
    'devices.keyboard: next-boot: it has 0 slots left to plug a device into; the next boot makes more (machine.spareSlots)',
  ])
  assert.deepEqual(await plan({ ...has, watchdog: true, watchdogModel: 'itco' }), [
    'devices.watchdog: next-boot: the watchdog of the chipset is switched on when the emulator starts',
    'devices.watchdogModel: next-boot: the watchdog of the chipset is switched on when the emulator starts',
  ])
  assert.deepEqual(await plan({ ...has, usb: true }), [
    'devices.usb: next-boot: it has 0 slots left to plug a device into; the next boot makes more (machine.spareSlots)',
  ])
  assert.deepEqual(await plan({ ...has, keyboard: 'ps2', rngBytesPerSecond: '64KiB' }), [
    'devices.keyboard: live: the guest sees the same, said in another way',
    'devices.rngBytesPerSecond: live: the guest sees the same, said in another way',
  ])
  assert.deepEqual(await plan({ rng: true }), [
    'devices.pointer: live: the guest is asked to let go of it while it runs',
  ])
})

test('nothing comes to a microvm, or to a VM that is off, before its next boot', async () => {
  await using world = await openSimulatedDaemon({ hurry: 20 })
  const spec = { machine: { type: 'microvm' }, boot: { kernel: { kernel: '/k' } } } as const
  world.machine.bootFiles.add('/k')
  await world.createVm('web1', { ...spec, devices: bare })
  const off = await planned(world, { keyboard: 'virtio' }, spec)
  await world.start('web1')

  assert.deepEqual(off, [['devices.keyboard', 'next-boot', 'the VM is off and has it from its next start']])
  assert.deepEqual(await planned(world, { keyboard: 'virtio' }, spec), [
    ['devices.keyboard', 'next-boot', 'nothing can be plugged into a microvm'],
  ])
})

test('a guest that refuses keeps its watchdog, and one that says nothing is waited for as long as is said', async () => {
  await using world = await openRunning({})
  await ended(world, await setDevices(world, { watchdog: true }))
  const [change] = await planned(world, {})
  world.process('web1').devices.release = 'refusing'
  const refused = await ended(world, await setDevices(world, {}))
  world.process('web1').devices.release = 'silent'
  await setDevices(world, { watchdog: true })
  const asked = await setDevices(world, {})
  let silent = await ended(world, asked)
  await eventually(async () => {
    world.skip(10_000)
    silent = await ended(world, asked)
    return silent.state === 'failed'
  }, 'the job gives up')
  const left = await waiting(world)
  world.process('web1').devices.release = 'willing'
  world.process('web1').devices.answer('watchdog')
  await eventually(async () => (await waiting(world))?.length === 0, 'it is gone')

  assert.deepEqual(change?.slice(1), [
    'live',
    'the guest is asked to let go of it while it runs, and is watched by nothing once it has',
  ])
  assert.match(refused.error?.detail ?? '', /keeps device watchdog: it refuses to let go of it/)
  assert.match(silent.error?.detail ?? '', /keeps device watchdog: it did not let go of it in 30 s/)
  assert.deepEqual([left, there(world)], [['devices.watchdog'], []])
})

for (const point of failpointNames.filter((name) => name.startsWith('vm.devices.')))
  test(`a daemon that dies at ${point} leaves a device that the next one brings or takes away`, async () => {
    const reached = new Set<FailpointName>()
    let deadly: string | undefined
    const { promise: died, resolve: die } = Promise.withResolvers<void>()
    const wanted = /plug/.test(point) ? ({ pointer: 'usb', rng: true, vsock: true } as const) : {}
    const spec = { machine: { spareSlots: 3 } }
    const first = /plug/.test(point) ? {} : ({ pointer: 'usb', keyboard: 'virtio' } as const)
    await using world = await openRunning(first, spec, {
      async failpoint(name) {
        reached.add(name)
        if (name !== deadly) return
        die()
        await new Promise(() => {}) // The daemon is dead.
      },
    })
    deadly = point

    await setDevices(world, wanted, spec)
    await died
    await using next = await world.killAndFollow()

    const names = /plug/.test(point) ? 'pointer,rng,usb,vsock' : ''
    assert.ok(reached.has(point))
    await eventually(async () => {
      const { status } = await next.vm('web1')
      const isSettled = status.restartNeeded?.length === 0 && status.job === undefined
      return isSettled && [...next.process('web1').devices.plugged.keys()].sort().join() === names
    }, 'guest and row have what was wanted')
  })
