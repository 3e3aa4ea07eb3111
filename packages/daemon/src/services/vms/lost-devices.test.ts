/** A device whose process on the host was killed: told of, once, until the VM's next start. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
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
  assert.match(lostDevices[2]?.reason ?? '', /^passt, which serves NIC lan, has ended/)
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
    /^passt, which serves NIC lan, has ended, .* remove NIC lan of VM web1/,
  )
})
