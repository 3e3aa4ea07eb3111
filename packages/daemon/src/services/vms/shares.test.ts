/** Folders of the host in a VM's spec: what comes with them, when they come, and who cannot have them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Vm, vmSpec } from '@kvasir/contract'
import { type FailpointName, failpointNames } from '../../ports/failpoints.ts'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const params = { name: 'web1' }
const www = { name: 'www', folder: '/srv/www' }
const memory = { sharing: 'shared' } as const

/** A VM that runs with shared memory. */
async function openRunning(
  shares: readonly (typeof www)[],
  options: Parameters<typeof openSimulatedDaemon>[0] = {},
): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon({ hurry: 20, ...options })
  world.machine.folders.add('/srv/www')
  await world.createVm('web1', { memory, shares: [...shares] })
  await world.start('web1')
  await eventually(async () => world.process('web1').agentConnected, 'the agent came')
  return world
}

async function setShares(world: SimulatedDaemon, shares: readonly (typeof www)[]): Promise<Vm> {
  const spec = vmSpec.parse({ memory, shares: [...shares] })
  return await world.call('applyVm', { params, body: { spec } })
}

async function ended(world: SimulatedDaemon, vm: Vm) {
  assert.ok(vm.status.job, 'a job was begun')
  return await world.call('getJob', { params: { id: vm.status.job }, query: { wait: 5 } })
}

/** What the guest has, and what is served. */
function there(world: SimulatedDaemon) {
  const { plugged, served } = world.process('web1').shares
  return [[...plugged.keys()], [...served]]
}

test('a share comes with the next boot, and so does the shared memory that it takes: the plan says both', async () => {
  await using world = await openSimulatedDaemon()
  world.machine.folders.add('/srv/www')
  await world.createVm('web1')
  await world.start('web1')
  const spec = vmSpec.parse({ shares: [www] })

  const { changes } = await world.call('planVm', { params, body: { spec } })

  assert.deepEqual(
    changes.map(({ field, to, effect, reason }) => [field, to, effect, reason]),
    [
      ['memory.sharing', 'shared', 'next-boot', 'memory is mapped when the emulator starts'],
      [
        'shares.www',
        { ...www, readOnly: false },
        'next-boot',
        'what serves a folder needs memory that is shared (memory.sharing), which a boot brings',
      ],
    ],
  )
})

test('memory of a VM with shares is not saved', async () => {
  await using world = await openSimulatedDaemon()
  world.machine.folders.add('/srv/www')
  await world.createVm('web1', { shares: [www] })
  await world.start('web1')
  const { id } = await world.call('saveVm', { params })
  const job = await world.call('getJob', { params: { id }, query: { wait: 5 } })
  assert.match(job.error?.detail ?? '', /VM web1 has shares \(\/srv\/www\), .* its memory is not saved/)
})

test('a folder that is not there, or a host without virtiofsd, is told when it is asked for', async () => {
  await using world = await openSimulatedDaemon()
  await assert.rejects(world.createVm('web1', { shares: [www] }), /The folder \/srv\/www does not exist/)
  world.machine.folders.add('/srv/www')
  world.machine.hasVirtiofsd = false
  await assert.rejects(world.createVm('web1', { shares: [www] }), /no virtiofsd to serve them/)
})

test('a share comes to a guest whose memory is shared and goes when it lets go; memory is saved once there is none', async () => {
  await using world = await openRunning([])

  const came = await ended(world, await setShares(world, [www]))
  const [had, { status }] = [there(world), await world.vm('web1')]
  const refused = await world.call('saveVm', { params })
  const why = (await world.call('getJob', { params: { id: refused.id }, query: { wait: 5 } })).error?.detail
  const went = await ended(world, await setShares(world, []))
  const { id } = await world.call('saveVm', { params })
  const saved = await world.call('getJob', { params: { id }, query: { wait: 5 } })

  assert.deepEqual([came.outcome, went.outcome], ['Share www is plugged.', 'Share www is gone.'])
  assert.deepEqual([had, status.restartNeeded], [[['www'], ['www']], []])
  assert.match(why ?? '', /has shares/)
  assert.equal(saved.state, 'succeeded')
})

test('a guest that refuses keeps its share, and one that says nothing is waited for as long as is said', async () => {
  await using world = await openRunning([www])
  world.process('web1').shares.release = 'refusing'
  const refused = await ended(world, await setShares(world, []))
  world.process('web1').shares.release = 'silent'
  await setShares(world, [www])
  const asked = await setShares(world, [])
  let silent = await ended(world, asked)
  await eventually(async () => {
    world.skip(10_000)
    silent = await ended(world, asked)
    return silent.state === 'failed'
  }, 'the job gives up')
  const { restartNeeded } = (await world.vm('web1')).status
  world.process('web1').shares.release = 'willing'
  world.process('web1').shares.answer('www')
  await eventually(async () => (await world.vm('web1')).status.restartNeeded?.length === 0, 'it is gone')

  assert.match(refused.error?.detail ?? '', /keeps share www: it refuses to let go of it/)
  assert.match(silent.error?.detail ?? '', /keeps share www: it did not let go of it in 30 s/)
  assert.deepEqual([restartNeeded, there(world)], [['shares.www'], [[], []]])
})

for (const point of failpointNames.filter((name) => name.startsWith('vm.shares.')))
  test(`a daemon that dies at ${point} leaves a share that the next one brings or takes away`, async () => {
    const reached = new Set<FailpointName>()
    let deadly: string | undefined
    const { promise: died, resolve: die } = Promise.withResolvers<void>()
    const wanted = /plug/.test(point) ? [www] : []
    await using world = await openRunning(wanted.length > 0 ? [] : [www], {
      async failpoint(name) {
        reached.add(name)
        if (name !== deadly) return
        die()
        await new Promise(() => {}) // The daemon is dead.
      },
    })
    deadly = point

    await setShares(world, wanted)
    await died
    await using next = await world.killAndFollow()

    const names = wanted.map(({ name }) => name)
    assert.ok(reached.has(point))
    await eventually(async () => {
      const { status } = await next.vm('web1')
      const isSettled = status.restartNeeded?.length === 0 && status.job === undefined
      return isSettled && there(next).every((some) => some.join() === names.join())
    }, 'guest and row have what was wanted')
  })
