/** Devices of the host that are handed to a guest that runs, and come back, whatever happens in between. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type VmSpecInput, vmSpec } from '@kvasir/contract'
import type { FailpointName } from '../../ports/failpoints.ts'
import { failpointNames } from '../../ports/failpoints.ts'
import type { SimulatedMachine } from '../../simulated/machine.ts'
import { ended, lent, setSpec, startGuest } from '../../testing/running-guest.ts'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

type HostDevices = NonNullable<VmSpecInput['hostDevices']>

const params = { name: 'web1' }
const nvme = '0000:01:00.0'
const disk = { name: 'disk', address: nvme }

/** Two NVMe disks, each in a group of its own. */
function furnish(machine: SimulatedMachine): void {
  const addresses = [nvme, '0000:02:00.0']
  machine.devices = {
    ...machine.devices,
    iommu: {
      units: ['dmar0'],
      groups: addresses.map((address, index) => ({
        group: index + 1,
        devices: [address],
        hasDirectRegion: false,
      })),
    },
    pci: addresses.map((address, index) => ({
      address,
      classCode: '010802',
      className: 'NVM Express',
      vendorId: '8086',
      deviceId: '5845',
      driver: 'nvme',
      iommuGroup: index + 1,
      interfaces: [],
      vfs: [],
      resetMethods: ['flr'],
      isBootDisplay: false,
      physicalFunction: undefined,
      disks: [],
      links: [],
    })),
  }
}

async function openRunning(
  options: Parameters<typeof openSimulatedDaemon>[0] = {},
): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon({ hurry: 20, ...options })
  furnish(world.machine)
  await startGuest(world, {})
  return world
}

const set = (world: SimulatedDaemon, hostDevices: HostDevices) => setSpec(world, { hostDevices })

/** Another device for the VM, on a host whose memory others have taken. */
async function planWithLittleMemory(world: SimulatedDaemon) {
  const { availableMemoryBytes } = world.machine
  world.machine.availableMemoryBytes = 1024
  const spec = vmSpec.parse({ hostDevices: [disk, { name: 'other', address: '0000:02:00.0' }] })
  try {
    return await world.call('planVm', { params, body: { spec } })
  } finally {
    world.machine.availableMemoryBytes = availableMemoryBytes
  }
}

const has = (world: SimulatedDaemon) => [...world.process('web1').hostDevices.plugged.keys()]

test('a device of the host is handed to a guest that runs, and comes back when that lets go of it', async () => {
  await using world = await openRunning()

  const came = await ended(world, await set(world, [{ name: 'disk', model: '8086:5845' }]))
  const { status } = await world.vm('web1')
  const plan = world.process('web1').hostDevices.plugged.get('disk')
  const went = await ended(world, await set(world, []))

  assert.deepEqual(
    [came, went].map(({ kind, outcome }) => [kind, outcome]),
    [
      ['vm.set-host-devices', `Host device disk is ${nvme}, and plugged.`],
      ['vm.set-host-devices', 'Host device disk is gone.'],
    ],
  )
  assert.deepEqual([status.hostDevices, status.restartNeeded], [[disk], []])
  assert.deepEqual(plan?.device['bus'], 'port0')
  assert.ok((plan?.lockableBytes ?? 0) > vmSpec.parse({}).memory.size, 'all memory may be locked')
  assert.deepEqual([has(world), lent(world)], [[], []])
  assert.equal((await world.vm('web1')).status.hostDevices, undefined)
})

test('the plan says that the memory is locked and what that takes from the host, and what cannot be had is refused first', async () => {
  await using world = await openRunning()
  await world.createVm('db1', { hostDevices: [disk] })
  const spec = vmSpec.parse({ hostDevices: [disk], memory: { ksm: true } })

  const plan = await world.call('planVm', { params, body: { spec } })
  await ended(world, await set(world, [disk]))

  assert.match(
    plan.changes.find(({ field }) => field === 'hostDevices.disk')?.reason ?? '',
    /^it is handed over while the guest runs, whose memory is all locked then: the balloon and reports of free pages and KSM give/,
  )
  await assert.rejects(planWithLittleMemory(world), {
    code: 'not-enough-memory',
    message:
      /^A device of the host locks all .* of the memory of VM web1, which has .* left, so it is not handed over/,
  })
  await assert.rejects(set(world, [disk, { name: 'other', address: '0000:09:00.0' }]), {
    code: 'unsupported',
  })
  const start = await world.start('db1')
  assert.match(start.error?.detail ?? '', /VM web1 has 0000:01:00\.0/)
  await assert.rejects(set(world, [disk, { name: 'twice', address: nvme }]), { code: 'bad-request' })
})

test('a guest that refuses keeps its device, and it comes back when the guest lets go later', async () => {
  await using world = await openRunning()
  await ended(world, await set(world, [disk]))
  world.process('web1').hostDevices.release = 'refusing'

  const job = await ended(world, await set(world, []))

  assert.match(job.error?.detail ?? '', /keeps host device disk: it refuses to let go of it/)
  assert.deepEqual(lent(world), [nvme])
  world.process('web1').hostDevices.release = 'willing'
  world.process('web1').hostDevices.answer('disk')
  await eventually(() => lent(world).length === 0, 'its driver has it again')
})

const points = failpointNames.filter((name) => name.startsWith('vm.host-devices.'))

for (const point of points)
  test(`a daemon that dies at ${point} leaves a device that the next one brings or takes back`, async () => {
    const reached = new Set<FailpointName>()
    let deadly: string | undefined
    const { promise: died, resolve: die } = Promise.withResolvers<void>()
    await using first = await openRunning({
      async failpoint(name) {
        reached.add(name)
        if (name !== deadly) return
        die()
        await new Promise(() => {}) // The daemon is dead.
      },
    })
    const leaves = /ask|release|remove/.test(point)
    if (leaves) await ended(first, await set(first, [disk]))
    deadly = point

    await set(first, leaves ? [] : [disk])
    await died
    await using next = await first.killAndFollow()

    assert.ok(reached.has(point))
    const wanted = leaves ? [] : [nvme]
    await eventually(async () => {
      const { status } = await next.vm('web1')
      return (status.hostDevices ?? []).map(({ address }) => address).join() === wanted.join()
    }, 'the row says what is')
    await eventually(() => lent(next).join() === wanted.join(), 'the host has what the guest has not')
    await eventually(() => has(next).length === wanted.length, 'the guest has what was wanted')
  })

test('a device that does not come is the host’s again, and the job says when it comes', async () => {
  let isFailing = true
  await using world = await openRunning({
    async failpoint(name) {
      if (isFailing && name === 'vm.host-devices.before-plug') throw new Error('The step fails.')
    },
  })

  const job = await ended(world, await set(world, [disk]))
  const { status } = await world.vm('web1')
  isFailing = false
  const again = await ended(world, await set(world, [disk]))

  assert.equal(job.state, 'failed')
  assert.deepEqual([status.hostDevices, status.restartNeeded], [undefined, ['hostDevices.disk']])
  assert.equal(again.state, 'succeeded')
})
