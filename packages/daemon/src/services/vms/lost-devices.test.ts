/** A device whose process on the host was killed: told of, once, until the VM's next start. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newNetwork } from '@kvasir/contract'
import { ended, setSpec, startGuest } from '../../testing/running-guest.ts'
import { openSimulatedDaemon } from '../../testing/simulated-daemon.ts'

const params = { name: 'web1' }

test('a TPM that was killed is told of in words until the next start, and the audit misses it', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { devices: { tpm: true } })
  await world.start('web1')
  const { uuid } = await world.vm('web1')
  assert.equal((await world.vm('web1')).status.lostDevices, undefined)

  world.machine.unconnected.set(uuid, ['serial', 'tpm'])
  await world.daemon.supervisor.check()
  await world.daemon.supervisor.check()

  const [lost, ...others] = (await world.vm('web1')).status.lostDevices ?? []
  assert.deepEqual([lost?.device, others], ['tpm', []])
  assert.match(lost?.reason ?? '', /^swtpm, .* has ended, .*shut VM web1 down and start it/)
  const events = await world.call('listEvents', { query: { after: 0, limit: 1000 } })
  const told = events.filter(({ data }) => 'tpm' in data)
  assert.deepEqual(
    told.map(({ kind, data }) => [kind, data['tpm'], data['reason']]),
    [['vm.guest', 'lost', lost?.reason]],
  )
  const { entries } = await world.call('getAudit', {})
  assert.deepEqual(
    entries.map(({ kind, thing, id }) => [kind, thing, id]),
    [['missing', 'TPM', uuid]],
  )

  await world.call('powerOffVm', { params })
  world.machine.unconnected.clear()
  await world.start('web1')
  await world.daemon.supervisor.check()
  assert.equal((await world.vm('web1')).status.lostDevices, undefined)
})

test('what another daemon finds lost is told of by it, and a NIC without its passt too', async () => {
  const first = await openSimulatedDaemon()
  first.machine.folders.add('/srv/www')
  await first.createVm('web1', {
    devices: { tpm: true },
    shares: [{ name: 'www', folder: '/srv/www' }],
    nics: [{ name: 'lan', mode: 'user' }],
  })
  await first.start('web1')
  first.machine.unconnected.set((await first.vm('web1')).uuid, ['tpm', 'fs-www'])

  await using world = await first.killAndFollow()
  await world.daemon.supervisor.check()
  world.process('web1').nics.loseNetwork('lan')
  await world.daemon.supervisor.check()

  const { lostDevices = [] } = (await world.vm('web1')).status
  assert.deepEqual(
    lostDevices.map(({ device }) => device),
    ['tpm', 'shares.www', 'nics.lan'],
  )
  assert.match(lostDevices[1]?.reason ?? '', /^virtiofsd, which serves share www, has ended/)
  assert.match(lostDevices[2]?.reason ?? '', /^The process that serves NIC lan in user mode has ended/)
})

test('a NIC whose tap was deleted is cut off and told of, by the next daemon too, until it is plugged anew', async () => {
  const first = await openSimulatedDaemon()
  await first.call('createNetwork', { body: newNetwork.parse({ name: 'lan' }) })
  await startGuest(first, { nics: [{ name: 'net0', network: 'lan' }] })
  await first.daemon.supervisor.check()
  assert.equal((await first.vm('web1')).status.lostDevices, undefined)

  const { nics } = first.process('web1')
  nics.lostTaps.add('net0')
  await first.daemon.supervisor.check()
  await first.daemon.supervisor.check()

  assert.deepEqual([...nics.cutOff], ['net0'])
  const reason =
    /^The tap of NIC net0 was deleted on the host, .* remove NIC net0 of VM web1 and add it again/
  const told = await first.call('listEvents', { query: { after: 0, limit: 1000 } })
  assert.equal(told.filter(({ data }) => data['network'] === 'lost').length, 1)
  const links = nics.links.length
  await using world = await first.killAndFollow()
  await world.daemon.supervisor.check()
  const { spec, status } = await world.vm('web1')
  assert.deepEqual(
    status.lostDevices?.map(({ device }) => device),
    ['nics.net0'],
  )
  assert.match(status.lostDevices?.[0]?.reason ?? '', reason)
  assert.deepEqual(nics.links.slice(links), [], 'Nobody puts a cable in that leads nowhere.')
  assert.deepEqual(
    (await world.call('getAudit', {})).entries.map(({ kind, thing }) => [kind, thing]),
    [['missing', 'NIC']],
  )

  await ended(world, await setSpec(world, { nics: [] }))
  nics.lostTaps.clear()
  await ended(world, await setSpec(world, { nics: spec.nics }))
  assert.equal((await world.vm('web1')).status.lostDevices, undefined)
})

test('a NIC that was plugged has nobody tell when its passt ends, so that is asked', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { nics: [{ name: 'lan' }] })
  await world.start('web1')
  world.machine.unconnected.set((await world.vm('web1')).uuid, ['net-lan'])

  await world.daemon.supervisor.check()

  const { lostDevices = [] } = (await world.vm('web1')).status
  assert.match(
    lostDevices[0]?.reason ?? '',
    /^The process that serves NIC lan in user mode has ended, .* remove NIC lan of VM web1/,
  )
})
