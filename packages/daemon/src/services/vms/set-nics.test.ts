/** NICs that come, go and change their network while the guest runs, guests that keep them, and their cables. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newNetwork, type VmSpecInput, vmSpec } from '@kvasir/contract'
import { ended, planned, setSpec, startGuest } from '../../testing/running-guest.ts'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

type Nics = NonNullable<VmSpecInput['nics']>

const params = { name: 'web1' }
const net0 = { name: 'net0', network: 'lan' }
const net1 = { name: 'net1', network: 'lan' }

async function openRunning(nics: Nics): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon({ hurry: 20 })
  for (const name of ['lan', 'dmz']) await world.call('createNetwork', { body: newNetwork.parse({ name }) })
  await startGuest(world, { nics })
  return world
}

const setNics = (world: SimulatedDaemon, nics: Nics) => setSpec(world, { nics })

function nicsOf(world: SimulatedDaemon): readonly string[] {
  return [...world.process('web1').nics.plugged.keys()].sort()
}

/** The NICs that a network treats as there. */
function wiresOn(world: SimulatedDaemon, name: string): readonly string[] {
  const seen = [...world.machine.networks.values()].find(({ network }) => network.name === name)
  return (seen?.wires ?? []).map(({ nic }) => nic).sort()
}

test('a NIC is plugged into a guest that runs, and taken away again; its network follows', async () => {
  await using world = await openRunning([net0])

  const came = await ended(world, await setNics(world, [net0, net1]))
  const [there, wires] = [nicsOf(world), wiresOn(world, 'lan')]
  const { status } = await world.vm('web1')
  const went = await ended(world, await setNics(world, [net0]))

  assert.deepEqual(
    [came, went].map(({ kind, state, outcome }) => [kind, state, outcome]),
    [
      ['vm.set-nics', 'succeeded', 'NIC net1 is plugged.'],
      ['vm.set-nics', 'succeeded', 'NIC net1 is gone.'],
    ],
  )
  assert.deepEqual(
    [there, wires],
    [
      ['net0', 'net1'],
      ['net0', 'net1'],
    ],
  )
  assert.deepEqual([status.restartNeeded, status.nics?.length], [[], 2])
  assert.deepEqual(nicsOf(world), ['net0'])
  await eventually(async () => wiresOn(world, 'lan').length === 1, 'the network does nothing for it any more')
  assert.deepEqual((await world.vm('web1')).status.restartNeeded, [])
})

test('the plan says what is done live and what waits, and why; disks and NICs share the slots that are left', async () => {
  await using world = await openRunning([net0, { name: 'out' }])
  const spec = vmSpec.parse({
    nics: [net0, { name: 'out' }, net1, { name: 'net2', network: 'dmz' }],
    disks: [{ name: 'data', size: '1GiB' }],
  })

  const { changes } = await world.call('planVm', { params, body: { spec } })

  assert.deepEqual(
    changes.map(({ field, effect, reason }) => [field, effect, reason]),
    [
      ['disks.data', 'live', 'it is plugged while the guest runs'],
      ['nics.net1', 'live', 'it is plugged while the guest runs'],
      [
        'nics.net2',
        'next-boot',
        'it has 2 slots left to plug a NIC into; the next boot makes more (machine.spareSlots)',
      ],
    ],
  )
  assert.deepEqual(await planned(world, { nics: [{ ...net0, link: 'down' }] }), [
    ['nics.net0.link', 'live', 'its cable is put in or taken out while the guest runs'],
    ['nics.out', 'live', 'the guest is asked to let go of it while it runs'],
  ])
})

test('a NIC in user mode comes and goes too; its forwards are those that it came with, and a lost one is whole again', async () => {
  await using world = await openRunning([net0])
  const out = { name: 'out', forwards: [{ hostPort: 2222, guestPort: 22 }] }

  const came = await ended(world, await setNics(world, [net0, out]))
  const { userNics } = (await world.vm('web1')).status
  const plan = await planned(world, { nics: [net0, { ...out, forwards: [] }] })
  world.process('web1').nics.loseNetwork('out')
  await eventually(async () => (await world.vm('web1')).status.lostDevices !== undefined, 'it is told')
  const [lost] = (await world.vm('web1')).status.lostDevices ?? []
  const went = await ended(world, await setNics(world, [net0]))
  await ended(world, await setNics(world, [net0, out]))

  assert.deepEqual([came.outcome, went.outcome], ['NIC out is plugged.', 'NIC out is gone.'])
  assert.deepEqual(userNics, [{ nic: 'out', server: 'passt', reason: 'it is simulated' }])
  assert.deepEqual(plan, [
    [
      'nics.out.forwards',
      'next-boot',
      'ports are forwarded by a process that starts with the NIC; removing the NIC and adding it brings another',
    ],
  ])
  assert.match(
    lost?.reason ?? '',
    /has ended, so that NIC has no network; remove NIC out of VM web1 and add it/,
  )
  assert.deepEqual((await world.vm('web1')).status.lostDevices, undefined)
  assert.deepEqual(nicsOf(world), ['net0', 'out'])
})

test('a card of PCIe is plugged as virtio is; one of conventional PCI, and another model, wait for a boot', async () => {
  await using world = await openRunning([net0])
  const card = { name: 'card', network: 'lan', model: 'e1000e' } as const

  const came = await ended(world, await setNics(world, [net0, card]))
  const { status } = await world.vm('web1')

  assert.equal(came.outcome, 'NIC card is plugged.')
  assert.deepEqual(
    status.nics?.map(({ nic, queues, vhost }) => [nic, queues, vhost]),
    [
      ['net0', 1, false],
      ['card', 1, false],
    ],
  )
  const onRootBus =
    'a NIC of conventional PCI (e1000, rtl8139) is not plugged, and a boot brings it or takes it away'
  assert.deepEqual(await planned(world, { nics: [net0, card, { ...net1, model: 'rtl8139' }] }), [
    ['nics.net1', 'next-boot', onRootBus],
  ])
  assert.deepEqual(await planned(world, { nics: [{ ...net0, model: 'e1000', network: 'dmz' }, card] }), [
    ['nics.net0.model', 'next-boot', 'the guest has the card that it booted with'],
    ['nics.net0.network', 'next-boot', 'the guest has another NIC of this name until then'],
  ])
})

test('queues, an MTU and offloads are said of a NIC, and another of them waits for a boot or another NIC', async () => {
  const said = { ...net0, queues: 3, mtu: 1400, offloads: 'off' } as const
  await using world = await openRunning([said])

  const shown = (await world.vm('web1')).status.nics?.map(({ queues, mtu, offloads }) => [
    queues,
    mtu,
    offloads,
  ])
  const waits = await planned(world, { nics: [{ ...net0, queues: 2 }] })
  const moves = await planned(world, { nics: [{ ...said, network: 'dmz' }] })
  const same = await planned(world, { nics: [{ ...said, model: 'virtio' }] })
  await ended(world, await setNics(world, []))
  const other = await ended(world, await setNics(world, [net0]))
  const usual = { ...net0, offloads: 'on' } as const
  const unsaid = await planned(world, { nics: [usual] })
  await world.call('applyVm', { params, body: { spec: vmSpec.parse({ nics: [usual] }) } })
  const { restartNeeded } = (await world.vm('web1')).status

  assert.deepEqual(shown, [[3, 1400, 'off']])
  assert.deepEqual(same, [['nics.net0.model', 'live', 'the card is that without being told']])
  assert.deepEqual(unsaid, [['nics.net0.offloads', 'live', 'the card is that without being told']])
  assert.deepEqual(restartNeeded, [])
  assert.deepEqual(
    waits.map(([field, effect]) => [field, effect]),
    [
      ['nics.net0.mtu', 'next-boot'],
      ['nics.net0.offloads', 'next-boot'],
      ['nics.net0.queues', 'next-boot'],
    ],
  )
  assert.match(String(waits[0]?.[2]), /booted with; removing the NIC and adding it brings another/)
  assert.deepEqual(
    moves.map(([field, effect]) => [field, effect]),
    [['nics.net0.network', 'live']],
  )
  assert.equal(other.outcome, 'NIC net0 is plugged.')
  const [nic] = (await world.vm('web1')).status.nics ?? []
  assert.deepEqual([nic?.queues, nic?.mtu, nic?.offloads], [1, 1500, 'on'])
  await assert.rejects(setNics(world, [net0, { ...net1, mtu: 1501 }]), {
    code: 'bad-request',
    message: /NIC net1 of VM web1 has an MTU of 1501, and packets of network lan have 1500 bytes at most/,
  })
})

test('a guest that refuses keeps its NIC: the job says so, and it goes when the guest lets go later', async () => {
  await using world = await openRunning([net0, net1])
  world.process('web1').nics.release = 'refusing'

  const job = await ended(world, await setNics(world, [net0]))

  assert.equal(job.error?.code, 'guest-refused')
  assert.match(
    job.error.detail ?? '',
    /keeps NIC net1: it refuses to let go of it\. It goes with its next boot/,
  )
  assert.deepEqual((await world.vm('web1')).status.restartNeeded, ['nics.net1'])
  assert.deepEqual(wiresOn(world, 'lan'), ['net0', 'net1'])
  world.process('web1').nics.release = 'willing'
  world.process('web1').nics.answer('net1')
  await eventually(
    async () => (await world.vm('web1')).status.restartNeeded?.length === 0,
    'the NIC that was kept is gone',
  )
})

test('a guest that says nothing is waited for as long as is said', async () => {
  await using world = await openRunning([net0])
  world.process('web1').nics.release = 'silent'

  const vm = await setNics(world, [])
  let job = await ended(world, vm)
  await eventually(async () => {
    world.skip(10_000)
    job = await ended(world, vm)
    return job.state === 'failed'
  }, 'the job gives up')

  assert.match(job.error?.detail ?? '', /keeps NIC net0: it did not let go of it in 30 s/)
})

test('a NIC is moved to another network while its cable is out, and what it was allowed goes with it', async () => {
  await using world = await openRunning([net0])
  await setNics(world, [{ ...net0, isolated: true }])

  const moved = { name: 'net0', network: 'dmz', isolated: true }
  const plan = await planned(world, { nics: [moved] })
  const job = await ended(world, await setNics(world, [moved]))

  assert.deepEqual(
    plan.map(([field, effect]) => [field, effect]),
    [['nics.net0.network', 'live']],
  )
  assert.equal(job.outcome, 'NIC net0 is on network dmz.')
  assert.deepEqual([wiresOn(world, 'lan'), wiresOn(world, 'dmz')], [[], ['net0']])
  assert.deepEqual(
    world.process('web1').nics.links.map(({ link }) => link),
    ['down', 'up'],
  )
  const { status, spec } = await world.vm('web1')
  assert.deepEqual([status.nics?.[0]?.network, status.restartNeeded], ['dmz', []])
  await world.call('powerOffVm', { params })
  await world.start('web1')
  assert.equal((await world.vm('web1')).spec.nics[0]?.mac, spec.nics[0]?.mac)
})

test('a NIC is not put on a network that is not started, or whose packets are too big for its guest', async () => {
  await using world = await openRunning([net0])
  await world.call('createNetwork', { body: newNetwork.parse({ name: 'jumbo', mtu: 9000 }) })
  await world.call('stopNetwork', { params: { network: 'dmz' } })

  await assert.rejects(setNics(world, [{ ...net0, network: 'dmz' }]), { code: 'network-inactive' })
  await assert.rejects(setNics(world, [net0, { ...net1, network: 'dmz' }]), { code: 'network-inactive' })
  await assert.rejects(planned(world, { nics: [{ ...net0, network: 'jumbo' }] }), {
    code: 'unsupported',
    message: /was told an MTU of 1500 for NIC net0 and network jumbo has 9000/,
  })
  assert.deepEqual((await world.vm('web1')).spec.nics[0]?.network, 'lan')
})

test('a cable is taken out at once and stays out at the next start, after a save and for the next daemon', async () => {
  await using first = await openRunning([net0])
  const links = (world: SimulatedDaemon) => world.process('web1').nics.links.map(({ link }) => link)

  await setNics(first, [{ ...net0, link: 'down' }])
  assert.deepEqual(links(first), ['down'])
  await using next = await first.killAndFollow()
  await eventually(async () => links(next).length === 2, 'the next daemon has said it again')
  await next.call('powerOffVm', { params })
  await next.start('web1')

  assert.deepEqual(links(next), ['down'])
})

test('a NIC that was to come or go when the daemon died is brought about by the next one', async () => {
  let isFailing = false
  await using first = await openSimulatedDaemon({
    failpoint: async (name) => {
      if (isFailing && name === 'vm.change.after-row') throw new Error('A step fails.')
    },
  })
  await first.call('createNetwork', { body: newNetwork.parse({ name: 'lan' }) })
  await first.createVm('web1', { nics: [net0] })
  await first.start('web1')
  isFailing = true
  await assert.rejects(setNics(first, [net1]))

  await using next = await first.killAndFollow()

  await eventually(async () => nicsOf(next).join() === 'net1', 'one has come and one has gone')
})
