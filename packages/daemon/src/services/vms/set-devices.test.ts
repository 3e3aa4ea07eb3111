/** Entropy devices, watchdogs, pointers and keyboards that come and go while the guest runs, and a daemon that dies at every step of it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Vm, type VmSpecInput, vmSpec } from '@kvasir/contract'
import { type FailpointName, failpointNames } from '../../ports/failpoints.ts'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const params = { name: 'web1' }
type Devices = NonNullable<VmSpecInput['devices']>
type Options = Parameters<typeof openSimulatedDaemon>[0]
const bare = { rng: false, vsock: false } as const

async function openRunning(devices: Devices, spec: VmSpecInput = {}, options: Options = {}) {
  const world = await openSimulatedDaemon({ hurry: 20, ...options })
  await world.createVm('web1', { ...spec, devices: { ...bare, ...devices } })
  await world.start('web1')
  await eventually(async () => world.process('web1').agentConnected, 'the agent came')
  return world
}

function specWith(devices: Devices, spec: VmSpecInput = {}) {
  return vmSpec.parse({ ...spec, devices: { ...bare, ...devices } })
}

async function setDevices(world: SimulatedDaemon, devices: Devices, spec: VmSpecInput = {}): Promise<Vm> {
  return await world.call('applyVm', { params, body: { spec: specWith(devices, spec) } })
}

async function planned(world: SimulatedDaemon, devices: Devices, spec: VmSpecInput = {}) {
  const plan = await world.call('planVm', { params, body: { spec: specWith(devices, spec) } })
  return plan.changes.map(({ field, effect, reason }) => [field, effect, reason])
}

async function ended(world: SimulatedDaemon, vm: Vm) {
  assert.ok(vm.status.job, 'a job was begun')
  return await world.call('getJob', { params: { id: vm.status.job }, query: { wait: 5 } })
}

/** What the guest has, with where it is. */
function there(world: SimulatedDaemon) {
  const { plugged } = world.process('web1').devices
  return [...plugged].map(([name, { bus }]) => `${name} on ${String(bus)}`).sort()
}

async function waiting(world: SimulatedDaemon) {
  return (await world.vm('web1')).status.restartNeeded
}

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
  assert.match(went.outcome ?? '', /Device rng is gone\..*Device keyboard is gone\./)
  assert.deepEqual([there(world), await waiting(world)], [[], []])
  assert.equal(world.process('web1').devices.objects.size, 0)
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
    'devices.keyboard: next-boot: it was started without a USB controller, which the next boot brings',
  ])
  assert.deepEqual(await plan({ ...has, keyboard: 'virtio' }), [
    'devices.keyboard: next-boot: it has 0 slots left to plug a device into; the next boot makes more (machine.spareSlots)',
  ])
  assert.deepEqual(await plan({ ...has, watchdog: true, watchdogModel: 'itco' }), [
    'devices.watchdog: next-boot: the watchdog of the chipset is switched on when the emulator starts',
    'devices.watchdogModel: next-boot: the watchdog of the chipset is switched on when the emulator starts',
  ])
  assert.deepEqual(await plan({ ...has, usb: true }), [
    'devices.usb: next-boot: the controller that USB devices are on comes and goes with a boot',
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

test('a USB keyboard comes to a controller that is there, and is pulled out of a guest that stands still; the controller waits', async () => {
  await using world = await openRunning({ pointer: 'usb' })

  const came = await ended(world, await setDevices(world, { pointer: 'usb', keyboard: 'usb' }))
  const had = there(world)
  await world.call('pauseVm', { params })
  const went = await ended(world, await setDevices(world, {}))
  const left = await waiting(world)
  const back = await planned(world, { pointer: 'usb' })

  assert.deepEqual(had, ['keyboard on usb.0', 'pointer on usb.0'])
  assert.equal(came.outcome, 'Device keyboard is plugged.')
  assert.equal(went.outcome, 'Device pointer is gone. Device keyboard is gone.')
  assert.deepEqual([there(world), left], [[], ['devices.usb']])
  assert.deepEqual(back, [['devices.pointer', 'live', 'it is plugged into a USB port while the guest runs']])
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
    const wanted = /plug/.test(point) ? ({ pointer: 'virtio', rng: true } as const) : {}
    const first = /plug/.test(point) ? {} : ({ pointer: 'virtio' } as const)
    await using world = await openRunning(
      first,
      {},
      {
        async failpoint(name) {
          reached.add(name)
          if (name !== deadly) return
          die()
          await new Promise(() => {}) // The daemon is dead.
        },
      },
    )
    deadly = point

    await setDevices(world, wanted)
    await died
    await using next = await world.killAndFollow()

    const names = Object.keys(wanted).sort().join()
    assert.ok(reached.has(point))
    await eventually(async () => {
      const { status } = await next.vm('web1')
      const isSettled = status.restartNeeded?.length === 0 && status.job === undefined
      return isSettled && [...next.process('web1').devices.plugged.keys()].sort().join() === names
    }, 'guest and row have what was wanted')
  })
