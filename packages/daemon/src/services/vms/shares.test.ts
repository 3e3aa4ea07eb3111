/** Folders of the host in a VM's spec: what comes with them, when they come, and who cannot have them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { vmSpec } from '@kvasir/contract'
import { openSimulatedDaemon } from '../../testing/simulated-daemon.ts'

const params = { name: 'web1' }
const www = { name: 'www', folder: '/srv/www' }

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
        'a folder is served by a process that starts with the emulator',
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
